"""URLs of account safety: sessions, freeze, links in notices, preferences."""

from django.urls import URLPattern, path

from accounts.profile import freeze, preferences, sessions

urlpatterns: list[URLPattern] = [
    path("sessions/", sessions.overview, name="sessions"),
    path("sessions/end/", sessions.end, name="sessions_end"),
    path("freeze/", freeze.freeze, name="freeze"),
    path("frozen/", freeze.frozen, name="frozen"),
    path("thaw/", freeze.thaw, name="thaw"),
    path("quarantine/", freeze.quarantine, name="quarantine"),
    path("n/<str:token>/", freeze.notice, name="notice"),
    path("settings/preferences/", preferences.save, name="preferences"),
    path("language/", preferences.set_language, name="set_language"),
]
