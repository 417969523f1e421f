"""The console's pages for teams and who is in them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import action

from keys import services
from keys.admin import budgets
from keys.admin.base import acting, purge
from keys.admin.holders import HolderAdmin
from keys.models import Membership, Team

FIELDS = (
    "name",
    "plan",
    "rpm",
    "concurrency",
    "cache_enabled",
    "cache_shared",
    "ledger_keep_days",
    "legal_hold",
)


class MembershipInline(TabularInline):
    """The people in a team, and who of them leads it."""

    model = Membership
    fields = ("user", "lead")
    autocomplete_fields = ("user",)
    extra = 0


@admin.register(Team)
class TeamAdmin(HolderAdmin):
    """Teams, with the budgets that all their keys share."""

    empty_says = "A team is a group of keys that share budgets. Add one, then choose it on keys."
    fields = FIELDS
    inlines = (budgets.BudgetInline, MembershipInline)
    autocomplete_fields = ("plan",)
    list_display = ("name", "keys", "plan", "rpm", "concurrency", "budgets")
    list_select_related = ("plan",)
    search_fields = ("name",)
    actions = ("purge_cache",)

    def create(self, **fields: Any) -> Team:
        return services.team_create(**fields)

    def update(self, row: Team, **arguments: Any) -> None:
        services.team_update(team=row, **arguments)

    def save_formset(
        self,
        request: HttpRequest,
        form: forms.ModelForm,
        formset: BaseInlineFormSet,
        change: bool,
    ) -> None:
        if formset.model is Membership:
            _save_members(request, form.instance, formset)
        else:
            super().save_formset(request, form, formset, change)

    @action(description="Purge response cache", permissions=["change"])
    def purge_cache(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        purge(self, request, queryset)

    def delete_model(self, request: HttpRequest, obj: Team) -> None:
        services.team_delete(team=obj, **acting(request))


def _save_members(request: HttpRequest, team: Team, formset: BaseInlineFormSet) -> None:
    who = acting(request)
    for form in formset.deleted_forms:
        if form.instance.pk:
            services.member_remove(member=form.instance, **who)
    for form in formset.forms:
        if form not in formset.deleted_forms and form.has_changed():
            _save_member(team, form, who)
    # What Django's log of changes reads after a save.
    formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []


def _save_member(team: Team, form: forms.ModelForm, who: dict[str, Any]) -> None:
    lead = form.cleaned_data["lead"]
    if "user" in form.changed_data:
        # Another person in the same row is one who leaves and one who comes.
        if form.instance.pk:
            services.member_remove(member=Membership.objects.get(pk=form.instance.pk), **who)
        services.member_add(team=team, user=form.cleaned_data["user"], lead=lead, **who)
        return
    services.member_update(member=form.instance, lead=lead, **who)
