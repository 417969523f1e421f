"""The application of the documentation site."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
