"""Lets accounts rest in all gateways at once: `proxy.core.rest` decides, this module tells.

Selection reads this process's memory and nothing else. A rest that begins here is written to Valkey
by a task of its own and announced; every gateway that hears it reads all rests again, and so it
does whenever its link to the channel comes back. While Valkey is away rests hold in this process.
A rest of ours that is not in Valkey any more was ended, by an operator or by an answer elsewhere.

Whoever sees a rest whose time has come removes it; keys without TTL are never evicted.
"""

import asyncio
import datetime as dt
import logging
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import orjson
from redis import RedisError

from keys import valkey
from keys.valkey import AsyncValkey
from proxy.core.account import Account
from proxy.core.rest import ALL, Rest, Rests, identity
from proxy.core.selection import Standing
from proxy.core.upstream_error import Fault
from proxy.listening import end, listen_forever

logger = logging.getLogger(__name__)

LUA = Path(__file__).parent / "lua"
KEY = "claudcode:rest"
CHANNEL = "claudcode:rest:changed"
# Announcements that come together are read once.
READ_AFTER_S = 0.02


@dataclass(frozen=True, slots=True)
class Resting:
    """Until when an account rests, and why, for whoever looks at it."""

    until: dt.datetime
    reason: str


@lru_cache(maxsize=8)
def source(name: str) -> str:
    """Return the Lua source of one script."""
    return (LUA / f"{name}.lua").read_text()


class SharedRests:
    """The rests of all accounts, as known to this process and shared with the others."""

    def __init__(self, valkey: AsyncValkey) -> None:
        self._valkey = valkey
        self._rests = Rests()
        # What Valkey had when it was last read, or has been given since.
        self._written: set[tuple[str, str]] = set()
        self._outbox: dict[tuple[str, str], Rest | None] = {}
        self._posted, self._announced = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.linked = False  # Whether every rest so far is known, and the next will be heard of.

    def start(self) -> None:
        """Begin to tell and to listen."""
        listening = listen_forever(self._valkey, CHANNEL, heard=self._heard, lost=self._lost)
        work = (self._tell_forever(), self._read_forever(), listening)
        self._tasks = [asyncio.create_task(task) for task in work]

    async def stop(self) -> None:
        """Stop telling and listening."""
        await end(self._tasks)

    def standing(self, account: Account, model: str) -> Standing:
        """Return how the account stands for `model`."""
        return self._rests.standing(identity(account), model, time.monotonic())

    def left_s(self, account: Account, model: str) -> float:
        """Return the seconds until the account's rest for `model` ends, at least 0."""
        return self._rests.left_s(identity(account), model, time.monotonic())

    def fault(self, account: Account) -> Fault | None:
        """Return the fault for which all of the account rests, `None` if it does not."""
        return self._rests.fault(identity(account), time.monotonic())

    def sent(self, account: Account, model: str) -> None:
        """Note that an exchange is sent there."""
        self._rests.sent(identity(account), model, time.monotonic())

    def answered(self, account: Account, model: str, *, sent_at: float) -> None:
        """Note that the account answered."""
        for rest in self._rests.answered(identity(account), model, sent_at=sent_at):
            logger.info("upstream account %s answers again", account.name)
            self._post(rest.account, rest.model, None)

    def failed(
        self,
        account: Account,
        model: str,
        fault: Fault,
        *,
        sent_at: float,
        retry_after_s: float | None = None,
        status: int = 0,
    ) -> None:
        """Note that the account failed; it may have to rest."""
        rest = self._rests.failed(
            identity(account),
            model,
            fault,
            sent_at=sent_at,
            now=time.monotonic(),
            retry_after_s=retry_after_s,
            status=status,
        )
        if rest is not None:
            self._begin(account, rest)

    def refused(self, account: Account, reason: str, seconds: float) -> None:
        """Let the account rest strictly: its credential is refused for good."""
        now = time.monotonic()
        self._begin(account, self._rests.refused(identity(account), reason, now, seconds))

    def end(self, account: Account) -> None:
        """End the rest of the whole account."""
        if self._rests.end(identity(account), ALL) is not None:
            self._post(identity(account), ALL, None)

    def _begin(self, account: Account, rest: Rest) -> None:
        logger.warning(
            "upstream account %s rests for %.0f s%s: %s",
            account.name,
            rest.until - rest.since,
            f", for {rest.model}" if rest.model else "",
            rest.reason,
        )
        self._post(rest.account, rest.model, rest)

    def _post(self, account: str, model: str, rest: Rest | None) -> None:
        self._outbox[account, model] = rest
        self._posted.set()

    # --- telling --------------------------------------------------------------------------------

    async def _tell_forever(self) -> None:
        while True:
            await self._posted.wait()
            self._posted.clear()
            outbox, self._outbox = self._outbox, {}
            try:
                for (account, model), rest in outbox.items():
                    await self._tell(account, model, rest)
            except (RedisError, OSError, TimeoutError) as error:
                # It holds here all the same; at the next reading of all rests nothing contradicts.
                logger.warning("gateways were not told of a rest: %s", error)

    async def _tell(self, account: str, model: str, rest: Rest | None) -> None:
        field = _field(account, model)
        if rest is None:
            await self._valkey.eval(source("wake"), 1, KEY, CHANNEL, "ended", field)
            self._written.discard((account, model))
            return
        left_ms = round((rest.until - time.monotonic()) * 1000)
        if left_ms > 0:
            strict = int(rest.strict)
            fault = rest.fault.value
            told = (field, left_ms, strict, rest.failures, fault, rest.reason, CHANNEL)
            await self._valkey.eval(source("rest"), 1, KEY, *told)
            self._written.add((account, model))

    # --- hearing --------------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        while True:
            await self._announced.wait()
            await asyncio.sleep(READ_AFTER_S)
            self._announced.clear()
            try:
                await self._read()
                self.linked = True
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("rests of accounts were not read: %s", error)

    async def _read(self) -> None:
        known = {key for key in self._written if key not in self._outbox}
        entries = await self._valkey.hgetall(KEY)
        now_ms = await valkey.async_now_ms(self._valkey, KEY)
        now, expired, found = time.monotonic(), [], set()
        for field, value in entries.items():
            rest = _rest(field, value, now, now_ms)
            if rest.until <= now:
                expired.append(field)
                continue
            found.add((rest.account, rest.model))
            self._rests.learn(rest)
        for account, model in known - found:
            if self._rests.left_s(account, model, now) > 0:
                self._rests.end(account, model)
        self._written = found | (self._written - known)
        self._rests.forget(now)
        if expired:
            await self._valkey.eval(source("wake"), 1, KEY, CHANNEL, "expired", *expired)

    def _heard(self, _message: bytes | None) -> None:
        self._announced.set()

    def _lost(self) -> None:
        self.linked = False


# --- for the control plane ------------------------------------------------------------------------


def resting() -> dict[int, Resting]:
    """Return which accounts rest, by id; of several rests of one the last to end, all reasons.

    Raises `RedisError` when Valkey does not answer.
    """
    client = valkey.client()
    entries, now_ms = client.hgetall(KEY), valkey.now_ms(client, KEY)
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for field, value in entries.items():
        said = orjson.loads(value)
        account, _, model = field.decode().partition(" ")
        if said["until_ms"] > now_ms:
            reason = said["reason"] + (f", for {model}" if model else "")
            found[int(account.partition(".")[0])].append((said["until_ms"], reason))
    return {account_id: _resting(rests) for account_id, rests in found.items()}


def wake(account_id: int) -> None:
    """End every rest of an account, in all gateways. Raises `RedisError`."""
    client = valkey.client()
    fields = [f for f in client.hkeys(KEY) if f.decode().partition(".")[0] == str(account_id)]
    if fields:
        client.eval(source("wake"), 1, KEY, CHANNEL, "ended", *fields)


def _resting(rests: list[tuple[int, str]]) -> Resting:
    rests.sort(reverse=True)
    until = dt.datetime.fromtimestamp(rests[0][0] / 1000, dt.UTC)
    return Resting(until, "; ".join(reason for _until_ms, reason in rests))


def _field(account: str, model: str) -> str:
    return f"{account} {model}" if model else account


def _rest(field: bytes, value: bytes, now: float, now_ms: int) -> Rest:
    account, _, model = field.decode().partition(" ")
    said = orjson.loads(value)
    return Rest(
        account=account,
        model=model,
        since=now + (said["since_ms"] - now_ms) / 1000,
        until=now + (said["until_ms"] - now_ms) / 1000,
        strict=said["strict"],
        failures=said["failures"],
        fault=Fault(said["fault"]),
        reason=said["reason"],
    )
