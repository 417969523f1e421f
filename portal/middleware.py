"""Lets the pages for developers be read while Postgres, which knows the signed-in, is away."""

import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from portal.stores import postgres_answers

_OURS = re.compile(r"/(?:(?:docs|status|try|llms|openapi)\b.*)?", re.DOTALL)


class NobodyIsKnown:
    """Take every reader of the portal for a stranger while their session cannot be read."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = settings.SESSION_COOKIE_NAME
        if (
            name in request.COOKIES
            and _OURS.fullmatch(request.path_info)
            and not postgres_answers()
        ):
            del request.COOKIES[name]
        return self.get_response(request)
