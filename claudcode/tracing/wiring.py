"""Has the calls of a data plane followed, as the settings say."""

from django.conf import settings

from claudcode.tracing.exporting import Exporting, Lifespan
from claudcode.tracing.spans import OpenTelemetry
from proxy.application import Application


def follow(plane: Application, lifespan: Lifespan) -> Lifespan:
    """Have the calls of `plane` followed; return `lifespan` with the last spans sent at its end."""
    exporting = Exporting(
        settings.TRACES_ENDPOINT,
        ratio=settings.TRACES_RATIO,
        trust_callers=settings.TRACES_TRUST_CALLERS,
    )
    plane.traces = OpenTelemetry(exporting.provider, upstream=settings.TRACES_UPSTREAM)
    return exporting.around(lifespan)
