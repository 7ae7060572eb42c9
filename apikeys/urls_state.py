"""Addresses of a key's states: paused, resumed, renewed; and the end of all keys."""

from django.urls import URLPattern, path

from apikeys import views_state

urlpatterns: list[URLPattern] = [
    path("keys/delete-all/", views_state.delete_all, name="keys_delete_all"),
    path("keys/<uuid:pk>/pause/", views_state.pause, name="key_pause"),
    path("keys/<uuid:pk>/resume/", views_state.resume, name="key_resume"),
    path("keys/<uuid:pk>/renew/", views_state.renew, name="key_renew"),
]
