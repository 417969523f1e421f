"""Every write of people to web tools: the account at Tavily, prices of credits, rules for keys.

Each service is one transaction that holds the change and its audit row. Gateways read the rows
again within half a second (`webtools.terms`), so nobody has to be told. No credential is ever in
an audit row, a log line or an error.
"""

import datetime as dt
from typing import TypedDict

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from keys import audit
from keys.changes import apply
from keys.models import ApiKey, Plan
from proxy import credentials
from proxy.credentials import CredentialUnreadable
from proxy.services import set_credential
from webtools.models import CreditPrice, TavilyAccount, ToolRule


class TavilyAccountChanges(TypedDict, total=False):
    """The fields of the account that an operator may change. The credential goes beside them."""

    enabled: bool
    keys_enabled: bool
    always: bool
    calls_per_day: int | None


class CreditPriceFields(TypedDict, total=False):
    """The fields of a price."""

    starts_at: dt.datetime
    credit_nanousd: int


class ToolRuleChanges(TypedDict, total=False):
    """The fields of a rule that an operator may change."""

    enabled: bool
    always: bool
    calls_per_day: int | None


def tavily_account() -> TavilyAccount:
    """Return the one row; as it is out of the box if somebody deleted it."""
    return TavilyAccount.objects.first() or TavilyAccount(pk=TavilyAccount.SINGLETON_ID)


def tavily_account_ensure() -> None:
    """Make the row if it is not there."""
    TavilyAccount.objects.get_or_create(pk=TavilyAccount.SINGLETON_ID)


@transaction.atomic
def tavily_set(
    *,
    changes: TavilyAccountChanges,
    acting_user: User | None,
    acting_address: str | None = None,
    credential: str | None = None,
) -> TavilyAccount:
    """Change the account and return it as stored. A change of nothing leaves no trace.

    `credential` replaces the stored one, "" removes it, `None` keeps it. Raises
    `ValidationError` for what cannot be stored.
    """
    tavily_account_ensure()
    stored = TavilyAccount.objects.select_for_update().get(pk=TavilyAccount.SINGLETON_ID)
    detail = apply(stored, changes)
    if credential is not None and (credential.strip() or stored.credential):
        before = stored.credential_hint
        set_credential(stored, credential, settings.TAVILY_BASE_URL)
        detail["credential"] = [before, stored.credential_hint]
    if not detail:
        return stored
    stored.save()
    audit.record("tavily.update", stored, acting_user, acting_address, detail)
    return stored


@transaction.atomic
def tavily_rotate(
    *, acting_user: User | None, acting_address: str | None = None
) -> tuple[int, int, list[str]]:
    """Seal the stored credential by the first key. Safe to run again.

    Returns how many were sealed anew, how many had been before, and which no key opens.
    """
    stored = TavilyAccount.objects.select_for_update().exclude(credential=None).first()
    if stored is None:
        return 0, 0, []
    try:
        sealed = credentials.reseal(stored.credential or "")
    except CredentialUnreadable:
        return 0, 0, [str(stored)]
    if sealed == stored.credential:
        return 0, 1, []
    stored.credential = sealed
    stored.save(update_fields=["credential", "updated_at"])
    audit.record("tavily.rotate", stored, acting_user, acting_address, {})
    return 1, 0, []


@transaction.atomic
def credit_price_set(
    *,
    price: CreditPrice | None,
    fields: CreditPriceFields,
    acting_user: User | None,
    acting_address: str | None = None,
) -> CreditPrice:
    """Change fields of `price`, or make a new one if there is none, and return it as stored.

    What was charged already stays as it was. A change of nothing leaves no trace.
    """
    stored = CreditPrice.objects.select_for_update().get(pk=price.pk) if price else CreditPrice()
    changed = apply(stored, fields)
    if price is not None and not changed:
        return stored
    if price is None:
        stored.full_clean()
    stored.save()
    action = "creditprice.update" if price else "creditprice.create"
    detail = {"price": str(stored)} | changed
    audit.record(action, stored, acting_user, acting_address, detail)
    return stored


@transaction.atomic
def tool_rule_set(
    *,
    holder: ApiKey | Plan,
    changes: ToolRuleChanges,
    acting_user: User | None,
    acting_address: str | None = None,
) -> ToolRule:
    """Change the rule of a key or a plan, making it if there is none, and return it as stored."""
    held = {"apikey": holder} if isinstance(holder, ApiKey) else {"plan": holder}
    stored = ToolRule.objects.select_for_update().filter(**held).first()
    action = "toolrule.update" if stored else "toolrule.create"
    made = stored is None
    stored = stored or ToolRule(**held)
    detail = apply(stored, changes)
    if not detail and not made:
        return stored
    stored.full_clean()
    stored.save()
    audit.record(action, stored, acting_user, acting_address, {"holder": str(holder)} | detail)
    return stored


@transaction.atomic
def tool_rule_delete(
    *, rule: ToolRule, acting_user: User | None, acting_address: str | None = None
) -> None:
    """Delete a rule: its holder has what its plan or the account says from then on."""
    detail = {"holder": str(rule.apikey or rule.plan)}
    audit.record("toolrule.delete", rule, acting_user, acting_address, detail)
    rule.delete()
