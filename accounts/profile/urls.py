"""Addresses of the settings: password, factors, e-mail."""

from django.urls import URLPattern, path

from accounts.profile import email, overview, password, phone, totp

urlpatterns: list[URLPattern] = [
    path("settings/", overview.settings, name="settings"),
    path("settings/stop/<int:object_id>/", overview.settings_stop, name="settings_stop"),
    path("settings/password/", password.settings_password, name="settings_password"),
    path("login/first-password/", password.first_password, name="first_password"),
    path("settings/password/new/", password.settings_password_new, name="settings_password_new"),
    path("settings/phone/", phone.settings_phone, name="settings_phone"),
    path("settings/phone/codes/", phone.settings_phone_codes, name="settings_phone_codes"),
    path("settings/phone/confirm/", phone.settings_phone_confirm, name="settings_phone_confirm"),
    path("settings/phone/lost/", phone.settings_phone_lost, name="settings_phone_lost"),
    path("settings/email/", email.settings_email, name="settings_email"),
    path("settings/email/codes/", email.settings_email_codes, name="settings_email_codes"),
    path("settings/email/confirm/<str:token>/", email.email_confirm, name="email_confirm"),
    path("settings/totp/", totp.settings_totp, name="settings_totp"),
    path("settings/totp/new/", totp.settings_totp_new, name="settings_totp_new"),
    path("settings/recovery-codes/", totp.settings_recovery, name="settings_recovery"),
    path(
        "settings/recovery-codes/new/",
        totp.settings_recovery_new,
        name="settings_recovery_new",
    ),
    path("enrol/totp/replace/", totp.replace_totp, name="replace_totp"),
]
