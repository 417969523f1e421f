"""The console's page of the audit trail: who changed what, newest first, never counted."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from keys.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(ModelAdmin):
    """The audit trail, to look at."""

    list_display = ("at", "actor_name", "action", "target_type", "target_id", "detail", "address")
    search_fields = ("=actor_name", "=action", "=target_id")
    search_help_text = "A whole user name, action or target id."
    ordering = ("-id",)
    paginator = InfinitePaginator
    show_full_result_count = False

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: AuditEvent | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: AuditEvent | None = None) -> bool:
        return False
