"""Addresses of a key's credentials: another one made and shown, an old one ended, the first use waited for."""

from django.urls import URLPattern, path

from apikeys import views_rotate

urlpatterns: list[URLPattern] = [
    path("keys/<uuid:pk>/rotate/", views_rotate.rotate, name="key_rotate"),
    path("keys/<uuid:pk>/rotate/verify/", views_rotate.verify, name="key_rotate_verify"),
    path("keys/<uuid:pk>/rotate/<uuid:serial>/", views_rotate.rotated, name="key_rotated"),
    path("keys/<uuid:pk>/credentials/<uuid:serial>/end/", views_rotate.end, name="key_credential_end"),
    path(
        "keys/<uuid:pk>/credentials/<uuid:serial>/first-use/",
        views_rotate.credential_first_used,
        name="key_credential_first_use",
    ),
    path("keys/<uuid:pk>/first-use/", views_rotate.first_used, name="key_first_use"),
]
