"""URLs of the login with the exchange's account. They answer 404 unless a provider is configured."""

from django.urls import path

from accounts.oidc import linking, views

urlpatterns = [
    path("login/oidc/", views.begin, name="oidc_login"),
    path("login/oidc/callback/", views.callback, name="oidc_callback"),
    path("settings/exchange/", linking.begin, name="settings_exchange"),
    path("settings/exchange/confirm/", linking.confirm, name="settings_exchange_confirm"),
    path("oidc/backchannel-logout/", views.backchannel_logout, name="oidc_backchannel_logout"),
]
