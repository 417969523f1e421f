"""The Django application of the wiring itself: its commands and its checks."""

from django.apps import AppConfig


class ClaudcodeConfig(AppConfig):
    name = "claudcode"

    def ready(self) -> None:
        from claudcode import checks  # noqa: F401  Registers them.
