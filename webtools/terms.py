"""What holds for the web tools of a key: rows become values here, and are kept for half a second.

A call of a tool takes a second or more, so reading the rows that often costs nothing that anybody
notices, and no gateway has to be told of a change. When Postgres is away, old values go on being
used.
"""

import asyncio
import time
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass

from django.conf import settings
from django.db.models import F, Q

from keys.models import ApiKey
from proxy import credentials
from proxy.core.errors import Unavailable
from proxy.credentials import CredentialUnreadable
from proxy.database import Database, DatabaseUnavailable
from webtools.models import CreditPrice, TavilyAccount, ToolRule
from webtools.tavily import Credential

AGE_S_MAX = 0.5
KEYS_MAX = 10_000
ALWAYS_AGE_S = 1.0
# The stand-in takes any.
STAND_IN_SECRET = "tvly-simulated"


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one key. `credential` is the gateway's, `None` if there is none that works.

    `always` says that its messages get web tools unasked. `calls_per_day` `None` is unlimited.
    `prices` are of a credit, by when they start.
    """

    enabled: bool
    always: bool
    calls_per_day: int | None
    credential: Credential | None
    prices: tuple[tuple[int, int], ...]

    def credit_nanousd(self, at_ms: int) -> int:
        """Return what a credit costs at that instant; before the first price, the first."""
        started = bisect_right([starts_at_ms for starts_at_ms, _ in self.prices], at_ms)
        return self.prices[max(0, started - 1)][1] if self.prices else 0


class TermsOfKeys:
    """The terms that this process has read a moment ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[int, tuple[Terms, float]] = OrderedDict()
        self._always, self._always_at = False, float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def some_always(self) -> bool:
        """Return whether any key's messages get web tools unasked, as it was known a second ago.

        Every message asks, so it waits for nothing.
        """
        if time.monotonic() - self._always_at > ALWAYS_AGE_S and self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return self._always

    async def _look(self) -> None:
        try:
            self._always = await self._database.call(load_some_always)
        except DatabaseUnavailable:
            pass  # What was known goes on to hold.
        finally:
            self._always_at, self._looking = time.monotonic(), None

    async def find(self, apikey_id: int) -> Terms:
        """Return what holds for the key. Raises `Unavailable`."""
        kept = self._kept.get(apikey_id)
        if kept is not None and time.monotonic() - kept[1] < AGE_S_MAX:
            return kept[0]
        try:
            terms = await self._database.call(load_terms, apikey_id)
        except DatabaseUnavailable as error:
            if kept is None:
                raise Unavailable(
                    "The gateway cannot read its settings just now. Try again shortly.",
                    retry_after_s=5,
                ) from error
            terms = kept[0]
        self._kept[apikey_id] = (terms, time.monotonic())
        self._kept.move_to_end(apikey_id)
        while len(self._kept) > KEYS_MAX:
            self._kept.popitem(last=False)
        return terms


def load_terms(apikey_id: int) -> Terms:
    """Return what the rows say for a key now. Three queries."""
    account = TavilyAccount.objects.first() or TavilyAccount()
    rule = rule_of(apikey_id)
    prices = CreditPrice.objects.order_by("starts_at").values_list("starts_at", "credit_nanousd")
    return Terms(
        enabled=account.enabled and (account.keys_enabled if rule is None else rule.enabled),
        always=account.always if rule is None else rule.always,
        calls_per_day=account.calls_per_day if rule is None else rule.calls_per_day,
        credential=load_credential(account),
        prices=tuple((int(at.timestamp() * 1000), nanousd) for at, nanousd in prices),
    )


def load_some_always() -> bool:
    """Return whether any key's messages get web tools unasked. Two queries of small tables."""
    always = TavilyAccount.objects.filter(always=True), ToolRule.objects.filter(always=True)
    return any(rows.exists() for rows in always)


def rule_of(apikey_id: int) -> ToolRule | None:
    """Return the rule that binds a key: its own, or its plan's."""
    plan_id = ApiKey.objects.filter(pk=apikey_id).values("plan_id")
    rules = ToolRule.objects.filter(Q(apikey_id=apikey_id) | Q(plan_id__in=plan_id))
    return rules.order_by(F("apikey_id").asc(nulls_last=True)).first()


def load_credential(account: TavilyAccount) -> Credential | None:
    """Return the gateway's credential: the console's, the environment's, or the stand-in's."""
    base_url = settings.TAVILY_BASE_URL
    if account.credential:
        try:
            return Credential(base_url, credentials.unseal(account.credential, base_url))
        except CredentialUnreadable:
            return None
    if settings.TAVILY_API_KEY:
        return Credential(base_url, settings.TAVILY_API_KEY)
    if settings.TAVILY_STAND_IN_URL:
        return Credential(settings.TAVILY_STAND_IN_URL, STAND_IN_SECRET)
    return None
