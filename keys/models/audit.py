"""The audit trail."""

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone


class AuditEvent(models.Model):
    """Who changed what, when and from where. Rows are only ever added; the database sees to it.

    `actor_name` outlives the account. `detail` never holds a secret.
    """

    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=50)
    target_type = models.CharField(max_length=30)
    target_id = models.BigIntegerField()
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        # Newest first by the primary key: pages come from its index, without a sort.
        ordering = ("-id",)
        indexes = (
            # The history of one key, team or model.
            models.Index(fields=("target_type", "target_id", "-id"), name="auditevent_target"),
            # What is searched for: a name, an action or an id that may be rare among millions.
            models.Index(Upper("actor_name"), name="auditevent_actor_name"),
            models.Index(Upper("action"), name="auditevent_action"),
            models.Index(fields=("target_id",), name="auditevent_target_id"),
        )

    def __str__(self) -> str:
        return f"{self.action} {self.target_type} {self.target_id} by {self.actor_name}"
