"""The application of those who use the console: their roles, their sign-in, their second factor."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class OperatorsConfig(AppConfig):
    name = "operators"

    def ready(self) -> None:
        from operators import roles, trail

        # After each migration, so that a role has the permissions of tables that are new.
        post_migrate.connect(roles.roles_sync, sender=self, dispatch_uid="operators.roles")
        trail.listen()
