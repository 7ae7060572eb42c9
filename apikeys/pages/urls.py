"""URLs of the pages of keys."""

from django.urls import URLPattern, path

from apikeys.pages import (
    address_approval,
    confirm,
    detail,
    export,
    key_list,
    key_requests,
    key_settings,
    lifecycle,
    rotation,
    usage,
)

urlpatterns: list[URLPattern] = [
    path("", key_list.home, name="home"),
    path("dashboard/", key_list.dashboard, name="dashboard"),
    path("keys/", key_list.keys, name="keys"),
    path("keys/new/verify/", confirm.verify_new, name="key_verify_new"),
    path("keys/<uuid:pk>/", detail.key_detail, name="key_detail"),
    path("keys/<uuid:pk>/settings/", key_settings.key_settings, name="key_settings"),
    path("keys/<uuid:pk>/usage/", detail.key_usage, name="key_usage"),
    path("keys/<uuid:pk>/signing/", detail.key_signing, name="key_signing"),
    path("keys/<uuid:pk>/danger/", detail.key_danger, name="key_danger"),
    path("keys/<uuid:pk>/verify/", confirm.verify_change, name="key_verify"),
    path("keys/<uuid:pk>/delete/", lifecycle.key_delete, name="key_delete"),
    path("keys/delete-all/", lifecycle.delete_all, name="keys_delete_all"),
    path("keys/<uuid:pk>/pause/", lifecycle.pause, name="key_pause"),
    path("keys/<uuid:pk>/resume/", lifecycle.resume, name="key_resume"),
    path("keys/<uuid:pk>/renew/", lifecycle.renew, name="key_renew"),
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
    path("keys/export/", export.export, name="keys_export"),
    path("keys/<uuid:pk>/refusals/<int:refusal>/add/", usage.add_address, name="key_add_address"),
    path(
        "keys/<uuid:pk>/refusals/<int:refusal>/grant/",
        usage.grant_permission,
        name="key_grant_permission",
    ),
    path("keys/<uuid:pk>/permissions/drop/", usage.drop_permissions, name="key_drop_permissions"),
    path("keys/requests/<int:request_pk>/", key_requests.key_request, name="key_request"),
    path("keys/requests/<int:request_pk>/confirm/", key_requests.confirm, name="key_request_confirm"),
    path("keys/requests/<int:request_pk>/decline/", key_requests.decline, name="key_request_decline"),
    path("keys/<uuid:pk>/made/", key_requests.key_made, name="key_made"),
    path("keys/rescue/<int:request_pk>/", address_approval.open_request, name="key_rescue_open"),
    path("keys/<uuid:pk>/rescue/", address_approval.toggle, name="key_rescue_toggle"),
    path("keys/<uuid:pk>/rescue/<int:request_pk>/", address_approval.approve, name="key_rescue"),
    path(
        "keys/<uuid:pk>/rescue/<int:request_pk>/dismiss/", address_approval.dismiss, name="key_rescue_dismiss"
    ),
]
