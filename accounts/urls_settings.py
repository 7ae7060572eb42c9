"""Addresses of the settings: password, factors, e-mail."""

from django.urls import URLPattern, path

from accounts import views_authenticator, views_email, views_password, views_phone, views_settings

urlpatterns: list[URLPattern] = [
    path("settings/", views_settings.settings, name="settings"),
    path("settings/stop/<int:object_id>/", views_settings.settings_stop, name="settings_stop"),
    path("settings/password/", views_password.settings_password, name="settings_password"),
    path("login/first-password/", views_password.first_password, name="first_password"),
    path("settings/password/new/", views_password.settings_password_new, name="settings_password_new"),
    path("settings/phone/", views_phone.settings_phone, name="settings_phone"),
    path("settings/phone/codes/", views_phone.settings_phone_codes, name="settings_phone_codes"),
    path("settings/phone/confirm/", views_phone.settings_phone_confirm, name="settings_phone_confirm"),
    path("settings/phone/lost/", views_phone.settings_phone_lost, name="settings_phone_lost"),
    path("settings/email/", views_email.settings_email, name="settings_email"),
    path("settings/email/codes/", views_email.settings_email_codes, name="settings_email_codes"),
    path("settings/email/confirm/<str:token>/", views_email.email_confirm, name="email_confirm"),
    path("settings/totp/", views_authenticator.settings_totp, name="settings_totp"),
    path("settings/totp/new/", views_authenticator.settings_totp_new, name="settings_totp_new"),
    path("settings/recovery-codes/", views_authenticator.settings_recovery, name="settings_recovery"),
    path(
        "settings/recovery-codes/new/",
        views_authenticator.settings_recovery_new,
        name="settings_recovery_new",
    ),
    path("enrol/totp/replace/", views_authenticator.replace_totp, name="replace_totp"),
]
