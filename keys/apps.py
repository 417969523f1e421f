"""The Django app of keys, teams, limits and the model catalogue."""

from django.apps import AppConfig


class KeysConfig(AppConfig):
    """Registers the models under the label `keys`."""

    name = "keys"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"
