"""URLs of the pre-login flows: sign-up, invitations, "forgotten password"."""

from django.urls import URLPattern, path

from accounts.registration import password_reset_views, signup_views

urlpatterns: list[URLPattern] = [
    path("signup/", signup_views.signup, name="signup"),
    path("signup/code/", signup_views.signup_code, name="signup_code"),
    path("signup/password/", signup_views.signup_password, name="signup_password"),
    path("signup/invited/<str:token>/", signup_views.invited, name="invited"),
    path("forgot/", password_reset_views.forgot, name="forgot"),
    path("forgot/codes/", password_reset_views.forgot_codes, name="forgot_codes"),
    path("forgot/password/", password_reset_views.forgot_password, name="forgot_password"),
    path("password-strength/", signup_views.password_strength, name="password_strength"),
]
