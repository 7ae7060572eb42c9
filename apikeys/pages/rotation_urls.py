"""Addresses of a key's credentials: another one made and shown, an old one ended, the first use waited for."""

from django.urls import URLPattern, path

from apikeys.pages import rotation

urlpatterns: list[URLPattern] = [
    path("keys/<uuid:pk>/rotate/", rotation.rotate, name="key_rotate"),
    path("keys/<uuid:pk>/rotate/verify/", rotation.verify, name="key_rotate_verify"),
    path("keys/<uuid:pk>/rotate/<uuid:serial>/", rotation.rotated, name="key_rotated"),
    path("keys/<uuid:pk>/credentials/<uuid:serial>/end/", rotation.end, name="key_credential_end"),
    path(
        "keys/<uuid:pk>/credentials/<uuid:serial>/first-use/",
        rotation.credential_first_used,
        name="key_credential_first_use",
    ),
    path("keys/<uuid:pk>/first-use/", rotation.first_used, name="key_first_use"),
]
