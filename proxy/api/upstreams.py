"""Upstream accounts: add, change, delete, enable, disable, use again, test.

A credential goes in and never comes out: `credential_hint` is what may be shown of it.
"""

from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from keys.api.apikeys import LIST_LENGTH_MAX
from keys.api.base import ServiceViewSet, acting, body
from keys.api.fields import Boolean, Integer, Strict, Text, Word
from keys.api.problems import Conflict
from keys.models import RATE_MAX, model_pattern_validator
from proxy import services
from proxy.core.listing import Candidate
from proxy.models import (
    PRIORITY_MAX,
    WEIGHT_MAX,
    Auth,
    Source,
    UpstreamAccount,
    account_name_validator,
)
from proxy.standing import State, address, standings
from proxy.trial import Offer, offer, upstream_test, upstream_use_again


class UpstreamFields(Strict):
    """The fields of an account that may be changed. What is left out stays as it is."""

    name = Text(max_length=50, validators=[account_name_validator])
    base_url = Text(max_length=300, help_text="Without /v1, such as https://api.anthropic.com.")
    credential = Text(
        max_length=4096,
        required=False,
        allow_blank=True,
        write_only=True,
        help_text="Never shown again. Empty: none is sent.",
    )
    auth = Word(choices=Auth.values, required=False)
    priority = Integer(min_value=0, max_value=PRIORITY_MAX, required=False)
    weight = Integer(min_value=1, max_value=WEIGHT_MAX, required=False)
    concurrency = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    rpm = Integer(min_value=0, max_value=RATE_MAX, allow_null=True, required=False)
    models = serializers.ListField(
        child=Text(max_length=100, validators=[model_pattern_validator]),
        max_length=LIST_LENGTH_MAX,
        required=False,
        help_text="Ids or patterns that it serves; empty: all.",
    )
    enabled = Boolean(required=False)


class UpstreamShown(serializers.Serializer[UpstreamAccount]):
    """An account as it is stored, and how it stands."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    base_url = serializers.SerializerMethodField(help_text="Where it leads to.")
    credential_source = serializers.ChoiceField(choices=Source.values)
    credential_hint = serializers.CharField(help_text="What may be shown of the credential.")
    credential_set_at = serializers.DateTimeField(allow_null=True)
    auth = serializers.ChoiceField(choices=Auth.values)
    priority = serializers.IntegerField()
    weight = serializers.IntegerField()
    concurrency = serializers.IntegerField(allow_null=True)
    rpm = serializers.IntegerField(allow_null=True)
    models = serializers.ListField(child=serializers.CharField())
    enabled = serializers.BooleanField()
    state = serializers.ChoiceField(choices=[state.value for state in State])
    reason = serializers.CharField(help_text="Empty when there is nothing to say.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()

    def get_base_url(self, account: UpstreamAccount) -> str:
        return address(account)


class Tested(serializers.Serializer[Any]):
    """What came of a free call to the account."""

    status = serializers.IntegerField(help_text="Of its answer; 0: none came.")
    milliseconds = serializers.IntegerField()
    models = serializers.ListField(child=serializers.CharField(), help_text="What it offers.")
    trouble = serializers.CharField(help_text="Empty: all is well, and it is used again.")


class ModelsImport(Strict):
    """Which of the models that the account lists are added to the catalogue."""

    only = serializers.ListField(
        child=Text(max_length=100),
        max_length=LIST_LENGTH_MAX,
        required=False,
        help_text="Ids; left out: all that the catalogue does not have.",
    )
    enable = serializers.ListField(
        child=Text(max_length=100),
        max_length=LIST_LENGTH_MAX,
        default=list,
        help_text="Ids that are on offer to clients at once.",
    )
    dry_run = Boolean(default=False, help_text="Say what would be added, and add nothing.")


class CandidateShown(serializers.Serializer[Candidate]):
    """A model that was added, or would be."""

    model_id = serializers.CharField()
    display_name = serializers.CharField()
    released_at = serializers.DateTimeField(allow_null=True)
    context_window_tokens = serializers.IntegerField()
    output_tokens_max = serializers.IntegerField()
    guessed = serializers.BooleanField(help_text="Upstream did not say its limits.")


class ModelsImported(serializers.Serializer[Any]):
    """What came of asking the account for its models."""

    dry_run = serializers.BooleanField()
    listed = serializers.IntegerField(help_text="How many models the account lists.")
    items = CandidateShown(many=True)


class Upstreams(ServiceViewSet):
    """Upstream accounts, in the order of their age."""

    area = "upstreams"
    serializer_class = UpstreamShown
    queryset = UpstreamAccount.objects.all()
    order = ("pk",)
    scopes = dict.fromkeys(("enable", "disable", "use_again", "test"), "upstreams:operate") | {
        # What it writes is the catalogue.
        "import_models": "models:write"
    }
    # They call upstream, for which no transaction should wait.
    unkept = frozenset({"test", "import_models"})

    def shown(self, rows: Any, *, many: bool = False) -> Any:
        accounts = rows if many else [rows]
        stands = standings(accounts)
        for account in accounts:
            account.state = stands[account.pk].state
            account.reason = stands[account.pk].reason
        return super().shown(rows, many=many)

    @extend_schema(request=UpstreamFields, responses={201: UpstreamShown})
    def create(self, request: Request) -> Response:
        """Add an account. Exchanges go to it within a second."""
        made = services.upstream_add(**body(UpstreamFields, request), **acting(request))
        return Response(self.reread(made.pk), status=201)

    @extend_schema(request=UpstreamFields, responses=UpstreamShown)
    def partial_update(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Change fields of an account. Another origin needs the credential once more."""
        changes = body(UpstreamFields, request, partial=True)
        credential = changes.pop("credential", None)
        stored = services.upstream_update(
            account=self.get_object(), changes=changes, credential=credential, **acting(request)
        )
        return Response(self.reread(stored.pk))

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Delete an account with its credential. The ledger keeps its name."""
        services.upstream_delete(account=self.get_object(), **acting(request))
        return Response(status=204)

    @extend_schema(request=None, responses=UpstreamShown)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Send to an account again."""
        account = self.get_object()
        services.upstream_enable(account=account, **acting(request))
        return Response(self.reread(account.pk))

    @extend_schema(request=None, responses=UpstreamShown)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Send nothing more to an account."""
        account = self.get_object()
        services.upstream_disable(account=account, **acting(request))
        return Response(self.reread(account.pk))

    @extend_schema(request=None, responses=UpstreamShown)
    @action(detail=True, methods=["post"], url_path="use-again")
    def use_again(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """End what is held against an account: its suspension and its rest."""
        account = self.get_object()
        upstream_use_again(account=account, **acting(request))
        return Response(self.reread(account.pk))

    @extend_schema(request=None, responses=Tested)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Make a free call to an account. If it answers, it is used again."""
        (found,) = upstream_test(rows=[self.get_object()], **acting(request))
        content = {"status": found.status, "milliseconds": found.milliseconds}
        content |= {"models": [model.id for model in found.models], "trouble": found.trouble}
        return Response(Tested(content).data)

    @extend_schema(request=ModelsImport, responses=ModelsImported)
    @action(detail=True, methods=["post"], url_path="import-models")
    def import_models(self, request: Request, pk: int) -> Response:  # noqa: ARG002
        """Add what the account lists to the catalogue. What is there stays as it is."""
        said, account = body(ModelsImport, request), self.get_object()
        offered = offer(account)
        if offered.probe.trouble:
            raise Conflict(offered.probe.trouble)
        chosen = _chosen(offered, said)
        if not said["dry_run"]:
            services.models_import(
                account=account, chosen=chosen, enabled=said["enable"], **acting(request)
            )
        content = {"listed": len(offered.probe.models), "items": chosen}
        return Response(ModelsImported(content | {"dry_run": said["dry_run"]}).data)


def _chosen(offered: Offer, said: dict[str, Any]) -> list[Candidate]:
    only = said.get("only")
    chosen = [c for c in offered.candidates if only is None or c.model_id in only]
    could_be = {c.model_id for c in chosen}
    for field in ("only", "enable"):
        if strange := sorted(set(said.get(field, ())) - could_be):
            told = f"Not among what could be added: {', '.join(strange)}."
            raise ValidationError({field: told})
    return chosen
