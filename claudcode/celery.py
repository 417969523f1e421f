"""The Celery application; its settings are the `CELERY_…` ones of Django's."""

from celery import Celery

from claudcode import env

env.export_default("DJANGO_SETTINGS_MODULE", "claudcode.settings")

app = Celery("claudcode")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
