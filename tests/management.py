"""A client of the management API for tests: JSON in, JSON out, with a token that tests ask for."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from keys.api.models import OperatorToken
from keys.api.tokens import operatortoken_issue


class ApiClient:
    """Speaks with an operator token of `scopes`, everything unless told otherwise."""

    def __init__(self, *scopes: str, **fields: Any) -> None:
        given: dict[str, Any] = {"name": "tests", "scopes": scopes or ["*"], "acting_user": None}
        self.token: OperatorToken
        self.token, secret = operatortoken_issue(**given | fields)
        self.secret = secret.text
        self._client = Client(raise_request_exception=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Send a request to `/api/v1/` and return the answer; `idempotency_key=` is a header."""
        sent = {"authorization": f"Bearer {self.secret}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._client.generic(
            method,
            f"/api/v1/{path}",
            b"" if body is None else content,
            content_type="application/json",
            headers=sent,
        )

    def get(self, path: str, **headers: str) -> HttpResponse:
        """Read."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Make something, or do something."""
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> HttpResponse:
        """Change something."""
        return self.send("PATCH", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> HttpResponse:
        """Replace something."""
        return self.send("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> HttpResponse:
        """Delete something."""
        return self.send("DELETE", path, **headers)
