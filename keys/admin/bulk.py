"""Many keys at once in the console: a CSV of those selected, and the issue of a CSV's keys.

An import is looked through first: nothing is issued before a report was seen and said yes to.
"""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from keys.admin.actions import ApiKeyActions
from keys.admin.base import acting
from keys.core.table import BYTES_MAX, COLUMNS, ROWS_MAX, BadTable, read
from keys.models import ApiKey
from keys.transfer import Imported, apikeys_import, export, lines

# Problems shown at once; with more than these a file is better made anew.
PROBLEMS_MAX = 50


class FileForm(forms.Form):
    """The file to look through."""

    file = forms.FileField(label="CSV file", widget=UnfoldAdminFileFieldWidget)

    def clean_file(self) -> str:
        file = self.cleaned_data["file"]
        if file.size > BYTES_MAX:
            raise forms.ValidationError(f"The file is larger than {BYTES_MAX:,} bytes.")
        try:
            return file.read().decode()
        except UnicodeDecodeError as error:
            raise forms.ValidationError("The file is not UTF-8.") from error


class BulkPages(ApiKeyActions):
    """The actions of keys, and what is done to lists of them."""

    actions = (*ApiKeyActions.actions, "export_csv")
    actions_list = ("import_csv",)

    @action(description="Export as CSV", permissions=["view"])
    def export_csv(self, _request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse:
        return StreamingHttpResponse(
            lines(export(queryset)),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="keys.csv"'},
        )

    @action(description="Import from CSV", permissions=["add"], url_path="import")
    def import_csv(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return self._import_page(request, form=FileForm())
        if request.POST.get("confirmed") == "yes":
            return self._issue(request, request.POST.get("text", ""))
        form = FileForm(request.POST, request.FILES)
        if not form.is_valid():
            return self._import_page(request, form=form)
        return self._report(request, form.cleaned_data["file"])

    def _report(self, request: HttpRequest, text: str) -> HttpResponse:
        try:
            wanted = apikeys_import(rows=read(text), dry_run=True, **acting(request))
        except BadTable as error:
            return self._refused(request, error)
        return self._import_page(request, wanted=wanted, text=text)

    def _issue(self, request: HttpRequest, text: str) -> HttpResponse:
        if self.shown_before(request):
            self.message_user(
                request,
                "These keys were issued already; their secrets are not shown again.",
                messages.INFO,
            )
            return HttpResponseRedirect(reverse("admin:keys_apikey_changelist"))
        try:
            issued = apikeys_import(rows=read(text), **acting(request))
        except BadTable as error:  # Something has changed since the report.
            return self._refused(request, error)
        self.remember_shown(request)
        page = self._import_page(request, issued=issued, secrets=_secrets(issued))
        page["Cache-Control"] = "no-store"
        return page

    def _refused(self, request: HttpRequest, error: BadTable) -> HttpResponse:
        shown, all_of_them = error.problems[:PROBLEMS_MAX], len(error.problems)
        return self._import_page(
            request, form=FileForm(), problems=shown, more=all_of_them - len(shown)
        )

    def _import_page(self, request: HttpRequest, **found: Any) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import keys",
            "columns": COLUMNS,
            "rows_max": ROWS_MAX,
            **found,
        }
        return TemplateResponse(request, "admin/keys/apikey/import.html", context)


def _secrets(issued: list[Imported]) -> str:
    rows = [["name", "secret"], *([each.apikey.name, each.secret.text] for each in issued)]
    return "".join(lines(rows))
