"""The console's pages for upstream accounts: add, change, test, import models, use again."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from keys.admin.base import ServiceAdmin, acting
from proxy import services
from proxy.admin.forms import UpstreamAccountForm
from proxy.core.listing import Candidate
from proxy.models import Source, UpstreamAccount
from proxy.standing import Standing, State, address, credential_shown, standings
from proxy.trial import Offer, offer, upstream_test, upstream_use_again

SHARE = ("priority", "weight", "concurrency", "rpm", "models", "enabled")
SAVE_AND_TEST = "proxy_upstreamaccount_save_and_test"
LIST = "admin:proxy_upstreamaccount_changelist"
CHANGE = "admin:proxy_upstreamaccount_change"


@admin.register(UpstreamAccount)
class UpstreamAccountAdmin(ServiceAdmin):
    """Which accounts exchanges are sent to, and which of them is in trouble?"""

    form = UpstreamAccountForm
    formfield_overrides = {ArrayField: {"widget": UnfoldAdminTextInputWidget}}
    list_display = ("name", "state", "why", "leads_to", "priority", "weight", "serves")
    list_filter = ("enabled",)
    search_fields = ("name", "base_url")
    actions = ("test", "enable", "disable", "use_again")
    actions_detail = ("import_models",)
    actions_submit_line = ("save_and_test",)

    def get_fieldsets(
        self, _request: HttpRequest, obj: UpstreamAccount | None = None
    ) -> list[tuple[str | None, dict[str, Any]]]:
        share = ("Share of the exchanges", {"fields": SHARE})
        if obj is None:
            return [(None, {"fields": ("name", "base_url", "new_credential", "auth")}), share]
        state = ("State", {"fields": ("state", "why", "set_at", "created_at", "updated_at")})
        if obj.credential_source == Source.ENVIRONMENT:
            fields: tuple[str, ...] = ("name", "leads_to", "credential_of_environment")
        else:
            fields = ("name", "base_url", "new_credential", "remove_credential", "auth")
        return [(None, {"fields": fields}), share, state]

    def get_readonly_fields(
        self, _request: HttpRequest, obj: UpstreamAccount | None = None
    ) -> tuple[str, ...]:
        if obj is None:
            return ()
        shown = ("state", "why", "set_at", "created_at", "updated_at")
        if obj.credential_source == Source.ENVIRONMENT:
            return (*shown, "leads_to", "credential_of_environment")
        return shown

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("proxy.operate_upstreamaccount")

    def has_import_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        # A permission with a dot in `permissions` would have a check ask the database too early.
        may_add = request.user.has_perm("keys.add_claudemodel")
        return may_add and self.has_change_permission(request)

    # --- Columns --------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        page = super().changelist_view(request, extra_context)
        if (shown := getattr(page, "context_data", {}).get("cl")) is not None:
            _attach(list(shown.result_list))
        return page

    def get_object(self, *args: Any, **kwargs: Any) -> UpstreamAccount | None:
        row = super().get_object(*args, **kwargs)
        if row is not None:
            _attach([row])
        return row

    @display(
        label={
            State.IN_USE: "success",
            State.RESTING: "warning",
            State.ASIDE: "info",
            State.DISABLED: "info",
            State.SUSPENDED: "danger",
            State.UNUSABLE: "danger",
        },
    )
    def state(self, row: UpstreamAccount) -> State:
        return _standing(row).state

    @display(description="why")
    def why(self, row: UpstreamAccount) -> str:
        return _standing(row).reason or "–"

    @display(description="address", ordering="base_url")
    def leads_to(self, row: UpstreamAccount) -> str:
        return address(row)

    @display(description="models")
    def serves(self, row: UpstreamAccount) -> str:
        return ", ".join(row.models) or "all"

    @display(description="credential")
    def set_at(self, row: UpstreamAccount) -> str:
        return credential_shown(row)

    @display(description="credential")
    def credential_of_environment(self, row: UpstreamAccount) -> str:
        return credential_shown(row)

    # --- Add and change -------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        buttons = {"actions_submit_line": self.get_actions_submit_line(request, object_id)}
        page = super().changeform_view(
            request, object_id, form_url, buttons | (extra_context or {})
        )
        saved = getattr(request, "saved_account", None)
        if saved is None or SAVE_AND_TEST not in request.POST:
            return page
        # After the transaction of the page, which must not wait for upstream.
        self._test(request, [saved])
        return HttpResponseRedirect(reverse(CHANGE, args=[saved.pk]))

    @action(description="Save and test", permissions=["change"])
    def save_and_test(self, _request: HttpRequest, _obj: UpstreamAccount) -> None:
        """Only the button: `changeform_view` does it."""

    def save_model(
        self, request: HttpRequest, obj: UpstreamAccount, form: UpstreamAccountForm, change: bool
    ) -> None:
        said = form.cleaned_data
        if change:
            changed = services.UpstreamChanges.__annotations__.keys() & set(form.changed_data)
            changes: Any = {name: said[name] for name in changed}
            saved = services.upstream_update(
                account=obj, changes=changes, credential=form.wanted_credential(), **acting(request)
            )
        else:
            fields = {name: said[name] for name in ("name", "base_url", "auth", *SHARE)}
            saved = services.upstream_add(
                **fields, credential=form.wanted_credential() or "", **acting(request)
            )
        request.saved_account = saved
        obj.pk = saved.pk
        obj.refresh_from_db()

    def delete_model(self, request: HttpRequest, obj: UpstreamAccount) -> None:
        services.upstream_delete(account=obj, **acting(request))

    # --- Actions --------------------------------------------------------------------------------

    @action(description="Test (a free call)", permissions=["operate"])
    def test(self, request: HttpRequest, queryset: QuerySet[UpstreamAccount]) -> None:
        self._test(request, list(queryset))

    @action(description="Enable", permissions=["operate"])
    def enable(self, request: HttpRequest, queryset: QuerySet[UpstreamAccount]) -> None:
        done = [services.upstream_enable(account=row, **acting(request)) for row in queryset]
        self._tell(request, sum(done), len(done), "enabled")

    @action(description="Disable", permissions=["operate"])
    def disable(self, request: HttpRequest, queryset: QuerySet[UpstreamAccount]) -> None:
        done = [services.upstream_disable(account=row, **acting(request)) for row in queryset]
        self._tell(request, sum(done), len(done), "disabled")

    @action(description="Use again (end suspension and rest)", permissions=["operate"])
    def use_again(self, request: HttpRequest, queryset: QuerySet[UpstreamAccount]) -> None:
        for row in queryset:
            upstream_use_again(account=row, **acting(request))
        self._tell(request, len(queryset), len(queryset), "used again")

    @action(
        description="Import models",
        permissions=["import"],
        url_path="import-models",
    )
    def import_models(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404
        offered = offer(row)
        if request.method == "POST" and not offered.probe.trouble:
            return self._import(request, row, offered)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "account": row}
        context |= {"title": f"Models of {row.name}", "offer": offered, "lines": _lines(offered)}
        return TemplateResponse(request, "admin/proxy/upstreamaccount/import.html", context)

    def _import(self, request: HttpRequest, row: UpstreamAccount, offered: Offer) -> HttpResponse:
        # By id alone: what is stored is what upstream says now, not what the form says.
        wanted = set(request.POST.getlist("chosen"))
        chosen = [c for c in offered.candidates if c.model_id in wanted]
        try:
            added = services.models_import(
                account=row,
                chosen=chosen,
                enabled=request.POST.getlist("enabled"),
                **acting(request),
            )
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        self.message_user(request, f"Models added to the catalogue: {len(added)}.")
        return HttpResponseRedirect(reverse("admin:keys_claudemodel_changelist"))

    def _test(self, request: HttpRequest, rows: Sequence[UpstreamAccount]) -> None:
        results = upstream_test(rows=rows, **acting(request))
        for row, result in zip(rows, results, strict=True):
            level = messages.ERROR if result.trouble else messages.SUCCESS
            self.message_user(request, f"{row.name}: {result}", level)

    def _tell(self, request: HttpRequest, done: int, selected: int, verb: str) -> None:
        rest = f" Left as they were: {selected - done}." if done < selected else ""
        self.message_user(request, f"Accounts {verb}: {done}.{rest}")


def _lines(offered: Offer) -> list[tuple[Candidate, str]]:
    return [
        (c, f"{c.context_window_tokens:,} tokens in, {c.output_tokens_max:,} out")
        for c in offered.candidates
    ]


def _attach(rows: Sequence[UpstreamAccount]) -> None:
    # Once for all rows of a page: Valkey is asked once, and so is Postgres.
    stands = standings(rows)
    for row in rows:
        row.standing = stands[row.pk]  # type: ignore[attr-defined]


def _standing(row: UpstreamAccount) -> Standing:
    standing: Standing = row.standing  # type: ignore[attr-defined]
    return standing
