"""Addresses of before a login: sign-up, invitations, forgotten password."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
