"""The description of the management API (OpenAPI 3.1), where it cannot be read off the views."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from keys.api.authentication import SAFE_METHODS, BearerToken, scope
from keys.api.fields import Strict
from keys.api.idempotency import HEADER
from keys.api.models import IDEMPOTENCY_KEY_LENGTH_MAX
from keys.api.problems import Problem, ProblemRenderer

READ_PROBLEMS = (400, 401, 403, 404, 406, 429, 503)
WRITE_PROBLEMS = (*READ_PROBLEMS, 409, 413, 415, 422)


class Schema(AutoSchema):  # type: ignore[no-untyped-call]
    """Adds filters, `Idempotency-Key`, problems and scopes to what the views say."""

    def get_override_parameters(self) -> list[Any]:
        if self.method not in SAFE_METHODS:
            return [] if self._unkept() else [_idempotency_key()]
        if getattr(self.view, "action", "") == "list":
            return [self.view.filters]
        return []

    def get_operation_id(self) -> str:
        said: str = super().get_operation_id()
        action = getattr(self.view, "action", "")
        # `keys_disable`, not `keys_disable_create`.
        return said if action == "create" else said.removesuffix("_create")

    def get_summary(self) -> str:
        said: str = super().get_description()
        return said.partition("\n")[0].removesuffix(".")

    def get_description(self) -> str:
        said: str = super().get_description()
        needed = scope(self.method, self.view)
        return f"{said}\n\nScope: `{needed}`." if needed else said

    def _get_serializer_name(self, serializer: Any, *args: Any, **kwargs: Any) -> str:
        # What is shown of a key is, outside, the key.
        name: str = super()._get_serializer_name(serializer, *args, **kwargs)
        return name.replace("Shown", "")

    def _unkept(self) -> bool:
        return getattr(self.view, "action", "") in self.view.unkept

    def _get_response_bodies(self, direction: str = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        for status in READ_PROBLEMS if self.method in SAFE_METHODS else WRITE_PROBLEMS:
            bodies[str(status)] = self._get_response_for_code(
                Problem, str(status), [ProblemRenderer.media_type]
            ) | {"description": HTTPStatus(status).phrase}
        return bodies

    def _postprocess_serializer_schema(self, schema: Any, serializer: Any, direction: str) -> Any:
        schema = super()._postprocess_serializer_schema(schema, serializer, direction)
        if isinstance(serializer, Strict) and schema.get("type") == "object":
            schema["additionalProperties"] = False
        return schema


def _idempotency_key() -> OpenApiParameter:
    return OpenApiParameter(
        HEADER,
        {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX},
        OpenApiParameter.HEADER,
        description="The request takes place once in 24 hours, however often it is sent.",
    )


class BearerTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the description names the token."""

    target_class = BearerToken
    name = "operatorToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer", "bearerFormat": "cc-op-…"}
