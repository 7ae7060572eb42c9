"""Address of the request debugger."""

from django.urls import URLPattern, path

from apikeys import views_debugger

urlpatterns: list[URLPattern] = [path("debugger/", views_debugger.debugger, name="debugger")]
