"""Writes to what the gateway offers, and to whether it is open."""

from django.contrib.auth.models import User
from django.db import transaction

from keys import audit
from keys.changes import ClaudeModelChanges, apply
from keys.models import ClaudeModel, Maintenance
from keys.services.announce import announce_everything


@transaction.atomic
def claude_model_create(
    *,
    model_id: str,
    fields: ClaudeModelChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ClaudeModel:
    """Put a model into the catalogue."""
    claude_model = ClaudeModel(model_id=model_id, **fields)
    claude_model.full_clean()
    claude_model.save()
    audit.record("model.create", claude_model, acting_user, acting_address, {"model_id": model_id})
    announce_everything()
    return claude_model


@transaction.atomic
def claude_model_update(
    *,
    claude_model: ClaudeModel,
    changes: ClaudeModelChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ClaudeModel:
    """Change a catalogue entry and return it as stored. A change of nothing leaves no trace."""
    stored = ClaudeModel.objects.select_for_update().get(pk=claude_model.pk)
    if detail := apply(stored, changes):
        stored.save()
        audit.record(
            "model.update",
            stored,
            acting_user,
            acting_address,
            {"model_id": stored.model_id} | detail,
        )
        announce_everything()
    return stored


@transaction.atomic
def maintenance_set(
    *,
    enabled: bool,
    acting_user: User | None,
    acting_address: str | None = None,
    message: str | None = None,
    retry_after_s: int | None = None,
) -> Maintenance:
    """Close or open the gateway; `None` keeps the message or the wait as it was."""
    stored, _ = Maintenance.objects.select_for_update().get_or_create(id=Maintenance.SINGLETON_ID)
    wanted = {"enabled": enabled, "message": message, "retry_after_s": retry_after_s}
    if detail := apply(stored, {k: v for k, v in wanted.items() if v is not None}):
        stored.save()
        audit.record("maintenance.set", stored, acting_user, acting_address, detail)
        announce_everything()
    return stored
