"""Which static files are collected."""

from django.contrib.staticfiles.apps import StaticFilesConfig


class PortalStaticFilesConfig(StaticFilesConfig):
    # django-htmx's extensions are not used, and import a bare module name that hashing can't resolve.
    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "ext"]
