"""What the console's pages share: who acts, and how the services' refusals are shown."""

import datetime as dt
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Field, Model, QuerySet
from django.db.models.options import Options
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from keys.leads import held_to_teams, visible
from keys.models import ApiKey, Team
from keys.purge import EntriesRemain, cache_purge
from keys.windows import NotEmptied

NOT_EMPTIED = "Valkey does not answer, so a window may not be empty yet. Reset it again later."


def acting(request: HttpRequest) -> dict[str, Any]:
    """Return the arguments by which every service learns who acts, and from where."""
    return {"acting_user": request.user, "acting_address": _address(request)}


ENTRIES_REMAIN = (
    "Valkey does not answer, so entries are left in it. No gateway reads them again, and they"
    " expire by themselves."
)


def purge(page: ModelAdmin, request: HttpRequest, holders: Iterable[ApiKey | Team | None]) -> None:
    """Purge the cache of each holder, of everybody for `None`, and say what came of it."""
    try:
        deleted = sum(cache_purge(holder=holder, **acting(request)) for holder in holders)
    except EntriesRemain:
        page.message_user(request, ENTRIES_REMAIN, messages.ERROR)
    else:
        page.message_user(request, f"Response cache purged: {deleted:,} entries.")


def moment(at: dt.datetime) -> str:
    """Return an instant for a page: the script says it in the reader's zone, relative to now."""
    utc = at.astimezone(dt.UTC)
    return format_html(
        '<time class="cc-time" datetime="{}" title="{}">{}</time>',
        utc.isoformat(),
        f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        f"{utc:%Y-%m-%d %H:%M} UTC",
    )


class CappedPaginator(Paginator):
    """Pages of a list that may be huge: rows are counted up to `most`, and never further."""

    most = 1_000
    template_name = "admin/console/pages_capped.html"

    @cached_property
    def count(self) -> int:
        return min(self.most, self._counted)

    @property
    def capped(self) -> bool:
        """Whether there are more rows than were counted."""
        return self._counted > self.most

    @cached_property
    def _counted(self) -> int:
        # In the order of the page: a plan that finds the first rows soon finds these soon.
        return len(self.object_list.values_list("pk")[: self.most + 1])


class ServiceAdmin(ModelAdmin):
    """A page whose writes are services.

    `team_field` names the team of a row, on pages that leads of teams may use: they see, add and
    change what belongs to the teams they lead, and the services see to it that they do no more.
    """

    show_full_result_count = False
    # A row costs a millisecond or two to write.
    list_per_page = 50
    team_field: str | None = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return visible(request.user, rows, self.team_field) if self.team_field else rows

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Else whoever may look at the list could ask for the hash of a password, the digest of a
        # key or the address of a webhook letter by letter.
        name = lookup.partition("__")[0]
        if name in _columns(self.opts) and name not in self._shown_in_list(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def _shown_in_list(self, request: HttpRequest) -> set[str]:
        filters = (each[0] if isinstance(each, tuple) else each for each in self.list_filter)
        shown = {self.opts.pk.name, *self.get_list_display(request), *filters}
        return {name for name in shown if isinstance(name, str)}

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        # A row is deleted on its own page, where a service does it.
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def formfield_for_dbfield(
        self, db_field: Field, request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        if isinstance(db_field, ArrayField):
            # Checked by the form field: the model field's complaint would lose its reason there.
            kwargs["base_field"] = forms.CharField(validators=db_field.base_field.validators)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return super().has_module_permission(request) or self._leads(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_view_permission(request, obj) or self._leads(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) or self._leads(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) or self._leads(request)

    def _leads(self, request: HttpRequest) -> bool:
        return self.team_field is not None and held_to_teams(request.user)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # Both leave the transaction of the page: the first rolls it back, the second comes after.
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
        except NotEmptied:
            self.message_user(request, NOT_EMPTIED, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


def _columns(options: Options) -> set[str]:
    found = options.get_fields()
    return {field.name for field in found} | {getattr(field, "attname", "") for field in found}


def _address(request: HttpRequest) -> str | None:
    try:
        return str(ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None  # A Unix socket has no address.
