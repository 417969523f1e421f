"""The Django application of the wiring itself: its commands and its checks."""

from django.apps import AppConfig


class ClaudcodeConfig(AppConfig):
    name = "claudcode"
