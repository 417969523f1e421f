"""For whom a page is filled in: the address they use, and which key is theirs."""

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest

from keys.models import ApiKey
from portal.library import KEY, Reader
from usage.dashboard.sign_in import viewer_of_request


def reader_of(request: HttpRequest) -> Reader:
    """Return the reader: the public address, or the one that was asked for, and their key's prefix.

    Strangers, those with several keys, and everybody while Postgres is away get a placeholder.
    """
    base_url = settings.PUBLIC_URL or request.build_absolute_uri("/")
    return Reader(base_url.rstrip("/"), _key(request))


def _key(request: HttpRequest) -> str:
    if settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return KEY
    try:
        viewer = viewer_of_request(request)
        if viewer is None or viewer.everything or len(viewer.apikey_ids) != 1:
            return KEY
        (prefix,) = ApiKey.objects.filter(pk__in=viewer.apikey_ids).values_list("prefix", flat=True)
    except DatabaseError:
        return KEY
    return f"{prefix}..."
