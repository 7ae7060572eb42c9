"""URLs of the login with the exchange's account. They answer 404 unless a provider is configured."""

from django.urls import path

from accounts.oidc import views

urlpatterns = [
    path("login/oidc/", views.begin, name="oidc_login"),
    path("login/oidc/callback/", views.callback, name="oidc_callback"),
    path("oidc/backchannel-logout/", views.backchannel_logout, name="oidc_backchannel_logout"),
]
