"""Addresses of what a key's use leads to: an address added, power taken away, a new address answered, an export."""

from django.urls import URLPattern, path

from apikeys import views_export, views_rescue, views_usage

urlpatterns: list[URLPattern] = [
    path("keys/export/", views_export.export, name="keys_export"),
    path("keys/<uuid:pk>/refusals/<int:refusal>/add/", views_usage.add_address, name="key_add_address"),
    path(
        "keys/<uuid:pk>/refusals/<int:refusal>/grant/",
        views_usage.grant_permission,
        name="key_grant_permission",
    ),
    path("keys/<uuid:pk>/permissions/drop/", views_usage.drop_permissions, name="key_drop_permissions"),
    path("keys/<uuid:pk>/rescue/", views_rescue.toggle, name="key_rescue_toggle"),
    path("keys/<uuid:pk>/rescue/<int:asked>/", views_rescue.approve, name="key_rescue"),
    path("keys/<uuid:pk>/rescue/<int:asked>/dismiss/", views_rescue.dismiss, name="key_rescue_dismiss"),
]
