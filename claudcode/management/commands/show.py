"""`manage.py show PATH`: what the management API answers to a GET, for who sits at the machine."""

import json
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from django.core.handlers.wsgi import WSGIRequest
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.urls import resolve

from claudcode.api import router, urlpatterns
from keys.api.operator_tokens import OwnToken

PREFIX = "/api/v1/"
# Whoever can run commands may see everything, and has no token to be throttled by.
OPEN = {"authentication_classes": (), "permission_classes": (), "throttle_classes": ()}


class Command(BaseCommand):
    """Asks the view itself, in this process: no gateway has to run, and nothing is changed."""

    help = (
        "Print rows as the management API shows them (GET /api/v1/PATH), as JSON. Secrets are in"
        " none of them. What can be asked of each is in docs/management-api.md and at /api/v1/docs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path",
            help=f"such as keys, 'keys?status=disabled', keys/3, teams/2/members: {_names()}",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        path, _, query = options["path"].removeprefix(PREFIX).partition("?")
        answer = _get(path.strip("/"), query)
        content = b"".join(answer) if answer.streaming else answer.content
        if answer.status_code != 200:
            raise CommandError(_complaint(content))
        try:
            shown = json.dumps(json.loads(content), indent=2, ensure_ascii=False)
        except ValueError:
            shown = content.decode()  # Keys as CSV.
        self.stdout.write(shown)


def _get(path: str, query: str) -> Any:
    # The API's last address takes whatever is no other's, so there is always one.
    found = resolve(f"{PREFIX}{unquote(path)}")
    view: Any = found.func
    actions = getattr(view, "actions", None) or {}
    # Who asks here has no token to be told of.
    if "get" not in actions or view.cls is OwnToken:
        raise CommandError(f"There is nothing to read at '{path}'. There is: {_names()}.")
    request = WSGIRequest(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": f"{PREFIX}{path}",
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.input": BytesIO(),
        }
    )
    opened = view.cls.as_view(actions, **view.initkwargs | OPEN)
    answer = opened(request, *found.args, **found.kwargs)
    return answer.render() if hasattr(answer, "render") else answer


def _complaint(content: bytes) -> str:
    problem = json.loads(content)
    errors = [f"{each['pointer']} {each['detail']}" for each in problem.get("errors", ())]
    return " ".join([problem["detail"], *errors])


def _names() -> str:
    own = [str(pattern.pattern) for pattern in urlpatterns if _read_by_itself(pattern)]
    return ", ".join(sorted({prefix for prefix, _view, _name in router.registry} | set(own)))


def _read_by_itself(pattern: Any) -> bool:
    actions = getattr(pattern.callback, "actions", None) or {}
    return "get" in actions and pattern.name != "api-token" and "<" not in str(pattern.pattern)
