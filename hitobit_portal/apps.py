"""App configuration of static files: which files are collected."""

from django.contrib.staticfiles.apps import StaticFilesConfig


class PortalStaticFilesConfig(StaticFilesConfig):
    # The extensions of django-htmx are not used, and import a bare module name that hashing cannot resolve.
    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "ext"]
