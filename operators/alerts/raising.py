"""Turns findings into rows: raised once by however many look, resolved when it is no longer so.

Who was told of an alert is told that it is over, once: when nothing of its family is open any more.
A budget that goes back and forth about 90 % and stays above 50 % would else be over every hour.
"""

import datetime as dt
from collections.abc import Collection, Sequence

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from operators.alerts.core.rules import Finding, family
from operators.alerts.models import (
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
    Alert,
    AlertDelivery,
    AlertTarget,
    Event,
)

# After this long a resolved alert goes, with its deliveries.
KEPT = dt.timedelta(days=90)
FORGOTTEN_AT_ONCE = 1_000


@transaction.atomic
def alerts_raise(findings: Sequence[Finding], now: dt.datetime) -> list[Alert]:
    """Raise what is not raised yet, with a delivery to each target that wants it; return those.

    The database decides, so of two that come at once one raises.
    """
    if not findings:
        return []
    # Most of what is so was so a minute ago: those need no attempt.
    known = Alert.objects.filter(key__in=[finding.key for finding in findings])
    seen = {(row.key, row.slot) for row in known} | {
        row.key for row in known if row.resolved_at is None
    }
    new = [f for f in findings if f.key not in seen and (f.key, f.slot) not in seen]
    raised = [(alert, f) for f in new if (alert := _raise(f, now)) is not None]
    loud = [alert for alert, finding in raised if not finding.quiet]
    targets = list(AlertTarget.objects.filter(enabled=True)) if loud else []
    AlertDelivery.objects.bulk_create(
        AlertDelivery(alert=alert, target=target, next_at=now)
        for alert in loud
        for target in targets
        if _wants(target, alert)
    )
    return [alert for alert, _finding in raised]


def alerts_resolve(kind: str, among: Q, still: Collection[str], now: dt.datetime) -> int:
    """Resolve what is open of `kind` and `among` the rows, but for the keys that are so `still`."""
    over = Alert.objects.filter(among, kind=kind).exclude(key__in=list(still))
    return alerts_end(over, now)


@transaction.atomic
def alerts_end(over: QuerySet[Alert], now: dt.datetime, *, told: bool = True) -> int:
    """Resolve those of `over` that are open, and unless not `told` tell whoever knows of them."""
    # Locked in one order, so of two that look at once one resolves and tells.
    rows = list(over.filter(resolved_at=None).order_by("pk").select_for_update(of=("self",)))
    Alert.objects.filter(pk__in=[row.pk for row in rows]).update(resolved_at=now)
    if rows and told:
        _tell_of_end(rows, now)
    return len(rows)


def alerts_forget(now: dt.datetime) -> int:
    """Delete some of the alerts that were over long ago; return how many."""
    old = Alert.objects.filter(raised_at__lt=now - KEPT, resolved_at__lt=now - KEPT)
    pks = list(old.order_by("raised_at").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    Alert.objects.filter(pk__in=pks).delete()
    return len(pks)


def _raise(finding: Finding, now: dt.datetime) -> Alert | None:
    row = Alert(
        kind=finding.kind.value,
        subject_type=finding.subject.value,
        subject_id=finding.subject_id,
        subject_name=finding.subject_name[:NAME_CHARS_MAX],
        team_id=finding.team_id,
        threshold=finding.threshold,
        key=finding.key,
        slot=finding.slot,
        text=finding.text[:TEXT_CHARS_MAX],
        raised_at=now,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        return None  # Somebody raised it at this moment, and tells of it.
    return row


def _tell_of_end(rows: Sequence[Alert], now: dt.datetime) -> None:
    """Make a delivery to each target that was told of a family which is over with these rows."""
    families = {family(row.key) for row in rows}
    known = Alert.objects.filter(key__in=[key for keys in families for key in keys])
    still = {family(row.key) for row in known.filter(resolved_at=None)}
    began = {keys: min(r.raised_at for r in rows if r.key in keys) for keys in families - still}
    since = Q()
    for keys, at in began.items():
        since |= Q(alert__key__in=keys, alert__raised_at__gte=at)
    if not since:
        return
    told = AlertDelivery.objects.filter(since, event=Event.RAISED, target__enabled=True)
    # Of several levels the highest is what they remember: it comes last, and replaces the others.
    last = {
        (row.target_id, family(row.alert.key)): row.alert_id
        for row in told.select_related("alert").order_by("alert__threshold", "alert_id")
    }
    AlertDelivery.objects.bulk_create(
        (
            AlertDelivery(alert_id=alert_id, target_id=target_id, event=Event.RESOLVED, next_at=now)
            for (target_id, _family), alert_id in last.items()
        ),
        ignore_conflicts=True,
    )


def _wants(target: AlertTarget, alert: Alert) -> bool:
    of_kind = not target.kinds or alert.kind in target.kinds
    return of_kind and target.team_id in (None, alert.team_id)
