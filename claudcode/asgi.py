"""The ASGI application: `/v1` to the data plane, everything else to Django.

The data plane is a plain ASGI callable: no Django request, middleware or session on its way.
"""

from claudcode import env

env.use_settings()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import re_path  # noqa: E402

django_application = get_asgi_application()  # Sets Django up; what follows needs its apps.

from claudcode import checks, health  # noqa: E402
from claudcode.engines.children import end_with_parent  # noqa: E402
from proxy.application import application as data_plane  # noqa: E402

if settings.SUPERVISED:
    end_with_parent()
checks.refuse_wrong_settings()

application = ProtocolTypeRouter(
    {
        "http": URLRouter(
            [
                re_path(r"^v1(?:/|$)", data_plane),
                re_path(r"^api/hello$", data_plane),
                re_path(r"^healthz$", health.healthz),
                re_path(r"^readyz$", health.readyz),
                re_path(r"", django_application),
            ]
        ),
        "lifespan": data_plane.lifespan,
    }
)
