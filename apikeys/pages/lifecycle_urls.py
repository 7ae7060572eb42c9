"""Addresses of a key's states: paused, resumed, renewed; and the end of all keys."""

from django.urls import URLPattern, path

from apikeys.pages import lifecycle

urlpatterns: list[URLPattern] = [
    path("keys/delete-all/", lifecycle.delete_all, name="keys_delete_all"),
    path("keys/<uuid:pk>/pause/", lifecycle.pause, name="key_pause"),
    path("keys/<uuid:pk>/resume/", lifecycle.resume, name="key_resume"),
    path("keys/<uuid:pk>/renew/", lifecycle.renew, name="key_renew"),
]
