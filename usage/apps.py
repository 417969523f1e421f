"""The Django app of the ledger, its roll-ups and prices."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    """Registers the models under the label `usage`."""

    name = "usage"
    verbose_name = "Usage"
    default_auto_field = "django.db.models.BigAutoField"
