"""Keys as CSV: the export of those that a query names, and the issue of those in a file."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.apikeys import ApiKeyQuery, matching
from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Strict, Text
from keys.core.table import BYTES_MAX, BadTable, read
from keys.models import ApiKey
from keys.transfer import Imported, apikeys_import, export, lines

# Problems that one answer tells; with more than these a file is better made anew.
PROBLEMS_MAX = 50
# JSON writes a character in six bytes at most, but a file of nothing else is no table.
FILE_BODY_BYTES_MAX = 2 * BYTES_MAX


class CsvRenderer(BaseRenderer):
    """Names the format when a client says what it accepts; the view writes the lines."""

    media_type, format = "text/csv", "csv"

    def render(self, data: Any, *_args: Any, **_kwargs: Any) -> Any:
        return data


class KeyFile(Strict):
    """A file of keys, one a line, with the columns of docs/keys.md."""

    csv = Text(max_length=BYTES_MAX, trim_whitespace=False)
    dry_run = Boolean(default=False, help_text="Say what would be issued, and issue nothing.")


class ImportedShown(serializers.Serializer[Any]):
    """One key of the file."""

    line = serializers.IntegerField(help_text="Where it stands in the file.")
    name = serializers.CharField()
    id = serializers.IntegerField(allow_null=True, help_text="null in a dry run.")
    prefix = serializers.CharField(allow_null=True)
    secret = serializers.CharField(
        allow_null=True,
        help_text="Shown this once. null in a dry run, and in the answer to a repeat.",
    )


class ImportShown(serializers.Serializer[Any]):
    """The keys of the file, in its order."""

    dry_run = serializers.BooleanField()
    items = ImportedShown(many=True)


class KeyExport(ServiceViewSet):
    """Keys as a file."""

    area = "keys"
    renderer_classes = (CsvRenderer,)
    queryset = ApiKey.objects.all()
    filters = ApiKeyQuery  # type: ignore[assignment]

    @extend_schema(
        operation_id="keys_export",
        parameters=[ApiKeyQuery],
        responses={(200, CsvRenderer.media_type): OpenApiTypes.STR},
    )
    def export(self, request: Request) -> StreamingHttpResponse:
        """Write keys as CSV, the oldest first. No secret is in it; `import` reads it."""
        rows = matching(self.get_queryset(), self.asked_for(ApiKeyQuery, request))
        return StreamingHttpResponse(
            lines(export(rows.order_by("pk"))),
            content_type="text/csv; charset=utf-8",
            headers={"Cache-Control": "no-store"},
        )


class KeyImport(ServiceViewSet):
    """Keys out of a file."""

    area = "keys"
    serializer_class = ImportShown
    queryset = ApiKey.objects.none()
    body_bytes_max = FILE_BODY_BYTES_MAX

    @extend_schema(operation_id="keys_import", request=KeyFile, responses=ImportShown)
    def issue(self, request: Request) -> Response:
        """Issue the keys of a CSV file, all of them or none. The answer has their secrets, once."""
        said = body(KeyFile, request)
        try:
            rows = read(said["csv"])
            issued = apikeys_import(rows=rows, dry_run=said["dry_run"], **acting(request))
        except BadTable as error:
            told = [str(problem) for problem in error.problems[:PROBLEMS_MAX]]
            raise ValidationError({"csv": told}) from error
        shown = [_shown(each, dry_run=said["dry_run"]) for each in issued]
        content = {"dry_run": said["dry_run"], "items": shown}
        return Response(content, headers={"Cache-Control": "no-store"})


def _shown(each: Imported, *, dry_run: bool) -> dict[str, Any]:
    # What a dry run made was never stored: its numbers and secrets are worth nothing.
    facts = {"id": each.apikey.pk, "prefix": each.apikey.prefix, "secret": each.secret.text}
    if dry_run:
        facts = dict.fromkeys(facts)  # type: ignore[assignment]
    return {"line": each.line, "name": each.apikey.name} | facts
