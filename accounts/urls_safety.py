"""Addresses of keeping an account safe: sessions, freezing, links in notices, preferences."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
