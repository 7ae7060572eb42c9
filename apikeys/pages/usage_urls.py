"""Addresses of what a key's use leads to: an address added, power taken away, a new address answered, an export."""

from django.urls import URLPattern, path

from apikeys.pages import address_approval, export, usage

urlpatterns: list[URLPattern] = [
    path("keys/export/", export.export, name="keys_export"),
    path("keys/<uuid:pk>/refusals/<int:refusal>/add/", usage.add_address, name="key_add_address"),
    path(
        "keys/<uuid:pk>/refusals/<int:refusal>/grant/",
        usage.grant_permission,
        name="key_grant_permission",
    ),
    path("keys/<uuid:pk>/permissions/drop/", usage.drop_permissions, name="key_drop_permissions"),
    path("keys/<uuid:pk>/rescue/", address_approval.toggle, name="key_rescue_toggle"),
    path("keys/<uuid:pk>/rescue/<int:request_pk>/", address_approval.approve, name="key_rescue"),
    path(
        "keys/<uuid:pk>/rescue/<int:request_pk>/dismiss/", address_approval.dismiss, name="key_rescue_dismiss"
    ),
]
