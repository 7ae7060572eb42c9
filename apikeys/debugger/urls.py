"""URL of the request debugger."""

from django.urls import URLPattern, path

from apikeys.debugger import views

urlpatterns: list[URLPattern] = [path("debugger/", views.debugger, name="debugger")]
