"""The Celery application; its settings are the `CELERY_…` ones of Django's, its logs too."""

import warnings
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from kombu.transport import TRANSPORT_ALIASES

from claudcode import env

env.use_settings()
# What it warns root of is pickled messages from strangers; ours are JSON.
warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")


@setup_logging.connect
def _keep_logging(**_kwargs: Any) -> None:
    """Celery configures no logging of its own when somebody listens to this signal."""


TRANSPORT_ALIASES["valkey-cluster"] = "claudcode.broker:ClusterTransport"
app = Celery("claudcode")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
