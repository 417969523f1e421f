"""What the pages of plans and teams share: their keys are counted, and services write them."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.db import connection
from django.db.models import Model, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from unfold.decorators import display
from unfold.views import ChangeList

from keys.admin import budgets
from keys.admin.base import ServiceAdmin, acting
from keys.models import Plan, Team

# As far as keys are counted: a look into an index each, whoever has a million of them.
KEYS_COUNTED_MAX = 1_000
_COUNTS = """
SELECT id, (SELECT count(*) FROM (
    SELECT FROM keys_apikey WHERE {holder}_id = asked.id LIMIT %s
) AS counted) FROM unnest(%s::bigint[]) AS asked (id)
"""


class HolderList(ChangeList):
    """One page of plans or teams, with how many keys each has."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        counts = _key_counts(self.opts.model_name or "", [row.pk for row in self.result_list])
        for row in self.result_list:
            row.keys_count = counts[row.pk]


class HolderAdmin(ServiceAdmin):
    """A page of plans or of teams. Subclasses name the services that write them."""

    def create(self, **fields: Any) -> Model:
        """Make a row by its service."""
        raise NotImplementedError

    def update(self, row: Any, **arguments: Any) -> None:
        """Change a row by its service; `changes` are among the arguments."""
        raise NotImplementedError

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("budgets")

    def get_changelist(self, _request: HttpRequest, **_kwargs: Any) -> type[ChangeList]:
        return HolderList

    @display
    def keys(self, row: Any) -> str:
        most = KEYS_COUNTED_MAX
        return f"more than {most:,}" if row.keys_count > most else f"{row.keys_count:,}"

    @display
    def budgets(self, row: Plan | Team) -> str:
        return ", ".join(str(budget) for budget in row.budgets.all()) or "–"

    def save_model(
        self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool
    ) -> None:
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            self.update(obj, changes=changes, **acting(request))
            return
        fields = {name: form.cleaned_data[name] for name in self.fields}
        obj.pk = self.create(**fields, **acting(request)).pk
        obj.refresh_from_db()

    def save_formset(
        self,
        request: HttpRequest,
        form: forms.ModelForm,
        formset: BaseInlineFormSet,
        change: bool,  # noqa: ARG002
    ) -> None:
        budgets.save(request, form.instance, formset)


def _key_counts(holder: str, ids: Sequence[int]) -> dict[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS.format(holder=holder), [KEYS_COUNTED_MAX + 1, list(ids)])
        return dict(cursor.fetchall())
