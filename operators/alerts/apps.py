"""The application of alerts. It stands before `operators`, whose roles name its permissions."""

from django.apps import AppConfig


class AlertsConfig(AppConfig):
    name = "operators.alerts"
    label = "alerts"
