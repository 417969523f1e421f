"""The page at `/`: what this address is, for a person who opened it in a browser."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Name the base URL, and say where operators go."""
    base_url = settings.PUBLIC_URL or request.build_absolute_uri("/")
    return render(request, "landing.html", {"base_url": base_url.rstrip("/")})
