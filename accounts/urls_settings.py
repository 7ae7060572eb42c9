"""Addresses of the settings: password, factors, e-mail."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
