"""The two scripts, for the address under which they were asked for."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from portal.setup import scripts
from portal.setup.address import UnsafeAddress, plain_root
from webtools.packages import packages

# Scripts that people read in a browser before they run them.
CONTENT_TYPE = "text/plain; charset=utf-8"


@require_safe
def shell(request: HttpRequest) -> HttpResponse:
    """Answer `setup.sh`."""
    return _answer(request, scripts.shell)


@require_safe
def powershell(request: HttpRequest) -> HttpResponse:
    """Answer `setup.ps1`."""
    return _answer(request, scripts.powershell)


def _answer(request: HttpRequest, script: Callable[[str, scripts.Offered], str]) -> HttpResponse:
    # Django refuses a `Host` that is not among ALLOWED_HOSTS, in either case.
    own = f"{request.scheme}://{request.get_host()}"
    try:
        root = plain_root(settings.PUBLIC_URL or own)
    except UnsafeAddress as refusal:
        return _plain(f"{refusal}\n", status=400)
    return _plain(script(root, scripts.offered(packages())))


def _plain(text: str, status: int = 200) -> HttpResponse:
    response = HttpResponse(text, content_type=CONTENT_TYPE, status=status)
    # Whoever kept it could hand it to someone who asked under another name.
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["Host", "X-Forwarded-Proto"])
    return response
