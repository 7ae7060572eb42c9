"""Addresses of before a login: sign-up, invitations, forgotten password."""

from django.urls import URLPattern, path

from accounts import views_forgot, views_signup

urlpatterns: list[URLPattern] = [
    path("signup/", views_signup.signup, name="signup"),
    path("signup/code/", views_signup.signup_code, name="signup_code"),
    path("signup/password/", views_signup.signup_password, name="signup_password"),
    path("signup/invited/<str:token>/", views_signup.invited, name="invited"),
    path("forgot/", views_forgot.forgot, name="forgot"),
    path("forgot/codes/", views_forgot.forgot_codes, name="forgot_codes"),
    path("forgot/password/", views_forgot.forgot_password, name="forgot_password"),
    path("password-strength/", views_signup.password_strength, name="password_strength"),
]
