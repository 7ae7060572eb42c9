"""Every address of the portal. What stands here is for finished logins, unless its view says otherwise."""

from django.conf import settings
from django.contrib import admin
from django.urls import path

from accounts import urls_outside, urls_safety, urls_settings, views_activity, views_enrol, views_login
from apikeys import (
    client_api,
    urls_debugger,
    urls_rotate,
    urls_state,
    urls_usage,
    views,
    views_key,
    views_verify,
)

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", views_login.login, name="login"),
    path("login/second-factor/", views_login.second_factor, name="second_factor"),
    path("logout/", views_login.logout, name="logout"),
    path("enrol/sms/", views_enrol.enrol_sms, name="enrol_sms"),
    path("enrol/totp/", views_enrol.enrol_totp, name="enrol_totp"),
    path("enrol/recovery-codes/", views_enrol.recovery_codes, name="recovery_codes"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("keys/", views.keys, name="keys"),
    path("keys/new/verify/", views_verify.verify_new, name="key_verify_new"),
    path("keys/<uuid:pk>/", views_key.key_detail, name="key_detail"),
    path("keys/<uuid:pk>/verify/", views_verify.verify_change, name="key_verify"),
    path("keys/<uuid:pk>/delete/", views_key.key_delete, name="key_delete"),
    path("activity/", views_activity.activity, name="activity"),
    *urls_outside.urlpatterns,
    *urls_settings.urlpatterns,
    *urls_safety.urlpatterns,
    *urls_state.urlpatterns,
    *urls_debugger.urlpatterns,
    *urls_rotate.urlpatterns,
    *urls_usage.urlpatterns,
    path("admin/", admin.site.urls),
    path("api/v3/ping", client_api.ping, name="ping"),
    path("api/v3/time", client_api.server_time, name="server_time"),
    path("sapi/v1/account/apiRestrictions", client_api.api_restrictions, name="api_restrictions"),
]

if settings.DEMO:
    urlpatterns.append(path("demo/sms/", views_activity.demo_sms, name="demo_sms"))

handler400 = "hitobit_portal.errors.bad_request"
handler403 = "hitobit_portal.errors.forbidden"
handler404 = "hitobit_portal.errors.not_found"
handler500 = "hitobit_portal.errors.server_error"
