"""All URLs of the portal. A view is for finished logins unless it is marked (`accounts.access.middleware`)."""

from django.conf import settings
from django.contrib import admin
from django.urls import path

from accounts.access import decorators
from accounts.login import enrolment_views
from accounts.login import views as login_views
from accounts.oidc import urls as oidc_urls
from accounts.profile import activity, safety_urls
from accounts.profile import urls as profile_urls
from accounts.registration import urls
from apikeys.client_api import views as client_api_views
from apikeys.debugger import urls as debugger_urls
from apikeys.management_api import urls as management_api_urls
from apikeys.pages import urls as pages_urls
from hitobit_portal.help import views as help_views
from hitobit_portal.http import caller_address, well_known

urlpatterns = [
    path("login/", login_views.login, name="login"),
    path("login/staff/", login_views.staff_login, name="staff_login"),
    path("login/second-factor/", login_views.second_factor, name="second_factor"),
    path("logout/", login_views.logout, name="logout"),
    path("enrol/sms/", enrolment_views.enrol_sms, name="enrol_sms"),
    path("enrol/totp/", enrolment_views.enrol_totp, name="enrol_totp"),
    path("enrol/recovery-codes/", enrolment_views.recovery_codes, name="recovery_codes"),
    *oidc_urls.urlpatterns,
    path("activity/", activity.activity, name="activity"),
    *urls.urlpatterns,
    *profile_urls.urlpatterns,
    *safety_urls.urlpatterns,
    *pages_urls.urlpatterns,
    *debugger_urls.urlpatterns,
    path("help/", decorators.public(help_views.index), name="help"),
    path("help/<slug:topic>/", decorators.public(help_views.topic), name="help_page"),
    *management_api_urls.urlpatterns,
    path("admin/", admin.site.urls),
    path(".well-known/security.txt", decorators.public(well_known.security_txt), name="security_txt"),
    path(".well-known/change-password", well_known.change_password, name="change_password"),
    path("robots.txt", decorators.public(well_known.robots_txt), name="robots_txt"),
    path("ip", decorators.public(caller_address.caller_address), name="caller_address"),
    path("api/v3/ping", client_api_views.ping, name="ping"),
    path("api/v3/time", client_api_views.server_time, name="server_time"),
    path("sapi/v1/account/apiRestrictions", client_api_views.api_restrictions, name="api_restrictions"),
]

if settings.DEMO:
    urlpatterns.append(path("demo/sms/", activity.demo_sms, name="demo_sms"))

handler400 = "hitobit_portal.http.error_pages.bad_request"
handler403 = "hitobit_portal.http.error_pages.forbidden"
handler404 = "hitobit_portal.http.error_pages.not_found"
handler500 = "hitobit_portal.http.error_pages.server_error"
