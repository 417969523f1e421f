"""The Django app of the data plane and of the upstream accounts it sends to."""

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    """Registers the models under the label `proxy`."""

    name = "proxy"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"
