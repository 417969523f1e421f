"""The data plane as a Django app; it has no tables."""

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    """Names the app."""

    name = "proxy"
    verbose_name = "Gateway"
