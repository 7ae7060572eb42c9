"""Addresses of keeping an account safe: sessions, freezing, links in notices, preferences."""

from django.urls import URLPattern, path

from accounts import views_emergency, views_preferences, views_sessions

urlpatterns: list[URLPattern] = [
    path("sessions/", views_sessions.overview, name="sessions"),
    path("sessions/end/", views_sessions.end, name="sessions_end"),
    path("freeze/", views_emergency.freeze, name="freeze"),
    path("frozen/", views_emergency.frozen, name="frozen"),
    path("thaw/", views_emergency.thaw, name="thaw"),
    path("quarantine/", views_emergency.quarantine, name="quarantine"),
    path("n/<str:token>/", views_emergency.notice, name="notice"),
    path("settings/preferences/", views_preferences.save, name="preferences"),
    path("language/", views_preferences.set_language, name="set_language"),
]
