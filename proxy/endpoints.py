"""The smaller answers of the data plane: models, key status, token counts, start-up probes.

None of them costs budget or shows up in the ledger.
"""

from datetime import UTC, datetime
from typing import Any

import orjson

from keys.core.access import CatalogueModel, KeyPolicy, Refusal
from keys.core.limits import Admitted, Denied, Limit, Reading, Unit
from keys.limiter import LimiterUnavailable
from proxy.admission import limits_unknown
from proxy.call import Call
from proxy.carrier import headers_of, read_error
from proxy.core.denial import rate_limited, resets_in
from proxy.core.errors import NotFound, Unavailable, UpstreamFailed, duration
from proxy.core.request import read_count
from proxy.core.upstream_error import translate
from proxy.gateway import Gateway, under_maintenance
from proxy.relay import Deadline, HungUp, TookTooLong
from proxy.upstreams import Trail

# What Anthropic's list uses when no limit is asked for, and its most.
PAGE_ENTRIES, PAGE_ENTRIES_MAX = 20, 1000
COUNTS_WINDOW_S = 60


class Endpoints:
    """Answers everything but `/v1/messages`."""

    def __init__(self, gateway: Gateway, *, count_tokens_rpm: int) -> None:
        self._gateway = gateway
        self._count_tokens_rpm = count_tokens_rpm

    async def hello(self, call: Call) -> None:
        """Answer a start-up probe; needs no key."""
        await call.answer(200, b'{"status":"ok"}')

    async def models(self, call: Call) -> None:
        """List the models this key may use, in Anthropic's shape, paged by `limit`, `after_id`."""
        policy = await self._gateway.identify(call)
        published = await self._gateway.policies.published()
        await self._gateway.show_limits(call)
        page = _page(published.catalogue.allowed(policy), _query(call))
        await call.answer(200, orjson.dumps(page))

    async def model(self, call: Call, model_id: str) -> None:
        """Answer one model, or 404 when there is none that this key may use."""
        policy = await self._gateway.identify(call)
        published = await self._gateway.policies.published()
        await self._gateway.show_limits(call)
        found = published.catalogue.find(model_id)
        if found is None or found not in published.catalogue.allowed(policy):
            raise NotFound(f"model: {model_id[:256]}")
        await call.answer(200, orjson.dumps(_model(found)))

    async def count_tokens(self, call: Call) -> None:
        """Forward a token count; it has a limit of its own and takes nothing from the budgets."""
        gateway = self._gateway
        policy = await gateway.identify(call)
        body = await gateway.read(call)
        try:
            model = gateway.permit(policy, await gateway.policies.published(), read_count(body))
            verdict = await self._tick(policy)
            await gateway.show_limits(call)
            if isinstance(verdict, Denied):
                raise rate_limited(verdict)
            async with Deadline(call, policy.hangup, gateway.bounds.patience):
                await self._forward(call, body, model.id)
        except TookTooLong:
            raise UpstreamFailed("The upstream did not answer in time.") from None
        except HungUp:
            pass
        finally:
            gateway.bodies.held -= len(body)
            await call.close()

    async def key_status(self, call: Call) -> None:
        """Answer how the key stands. Costs nothing; a dead key is told so, not refused."""
        found = await self._known(call)
        await call.answer(200, orjson.dumps(await self.status_of(call, found)))

    async def status_of(self, call: Call, found: KeyPolicy) -> dict[str, Any]:
        """Return how the key stands. Raises `Unavailable`."""
        published = await self._gateway.policies.published()
        if published.maintenance.closes(found):
            raise under_maintenance(published.maintenance)
        try:
            reading = await self._gateway.limiter.peek(found)
        except LimiterUnavailable as error:
            raise Unavailable(
                "The gateway cannot read limits just now. Try again shortly.", retry_after_s=2
            ) from error
        call.verdict = reading
        allowed = [model.id for model in published.catalogue.allowed(found)]
        return _status(found, reading, allowed)

    async def _known(self, call: Call) -> KeyPolicy:
        """Return the policy of a key that exists, a live one before a dead one."""
        dead = None
        for policy in await self._gateway.find(call):
            refusal = self._gateway.refuse(policy, call)
            if refusal is None:
                return policy
            if refusal is not Refusal.ADDRESS:
                dead = policy
        return dead or await self._gateway.identify(call)

    async def _tick(self, policy: KeyPolicy) -> Admitted | Denied:
        limit = Limit(
            policy.concurrencies[0].scope, Unit.COUNTS, COUNTS_WINDOW_S, self._count_tokens_rpm
        )
        try:
            return await self._gateway.limiter.tick(policy, limit)
        except LimiterUnavailable as error:
            raise limits_unknown() from error

    async def _forward(self, call: Call, body: bytes, model: str) -> None:
        path = "/v1/messages/count_tokens"
        answer = await self._gateway.ask_upstream(call, path, body, model, Trail())
        try:
            content = await read_error(answer)
            if answer.status != 200:
                retry_after = answer.header(b"retry-after").decode("latin-1")
                refusal = translate(answer.status, content, retry_after)
                if refusal is not None:
                    raise refusal
            await call.start(answer.status, headers_of(answer, content))
            await call.write(content, more=False)
        finally:
            answer.finish()


def _query(call: Call) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in call.query.decode("latin-1").split("&") if pair)
    return {name: value for name, _, value in pairs}


def _page(models: list[CatalogueModel], query: dict[str, str]) -> dict[str, Any]:
    asked = query.get("limit", "")
    # Longer numbers mean the same as the longest read here, and Python would refuse to read some.
    limit = int(asked[:9]) if asked.isascii() and asked.isdigit() else PAGE_ENTRIES
    limit = max(1, min(PAGE_ENTRIES_MAX, limit))
    ids = [model.id for model in models]
    after, before = query.get("after_id"), query.get("before_id")
    first = ids.index(after) + 1 if after in ids else 0
    last = ids.index(before) if before in ids else len(models)
    between = models[first:last]
    # Going backwards, the page is the end of them, and what more there is comes before it.
    page = between[-limit:] if before in ids else between[:limit]
    return {
        "data": [_model(model) for model in page],
        "first_id": page[0].id if page else None,
        "has_more": len(page) < len(between),
        "last_id": page[-1].id if page else None,
    }


def _model(model: CatalogueModel) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": _rfc3339(model.created_at_ms),
        "max_input_tokens": model.context_window_tokens,
        "max_tokens": model.output_tokens_max,
    }


def _status(policy: KeyPolicy, verdict: Admitted, allowed: list[str]) -> dict[str, Any]:
    mine = policy.concurrencies[0]
    readings = verdict.readings
    budgets = [r for r in readings if r.limit.unit in (Unit.TOKENS, Unit.NANOUSD)]
    tokens = [r for r in budgets if r.limit.unit is Unit.TOKENS]
    own_first = sorted(tokens, key=lambda reading: reading.limit.scope != mine.scope)
    rpm = next((r for r in readings if r.limit.unit is Unit.REQUESTS), None)
    return {
        "key": f"sk-cc-...{policy.last_four}",
        "name": policy.name,
        "status": policy.status(verdict.now_ms),
        "budget": _budget(own_first[0], verdict.now_ms) if own_first else None,
        "budgets": [_any_budget(reading, verdict.now_ms, mine.scope) for reading in budgets],
        "rate_limit": {
            "rpm": rpm.limit.limit if rpm else None,
            "concurrent": mine.limit,
            "remaining": rpm.remaining if rpm else None,
            "in_flight": verdict.in_flight[0],
        },
        "models": allowed,
        "expires_at": None if policy.expires_at_ms is None else _rfc3339(policy.expires_at_ms),
    }


def _budget(reading: Reading, now_ms: int) -> dict[str, Any]:
    kind = "anchored" if reading.limit.anchored else "rolling"
    used = reading.used + reading.held
    return {
        "total_tokens": reading.limit.limit,
        "used_tokens": used,
        "remaining_tokens": max(0, reading.limit.limit - used),
        "window": f"{duration(reading.limit.window_s)} {kind}",
        "resets_in": resets_in(reading, now_ms),
    }


def _any_budget(reading: Reading, now_ms: int, own_scope: str) -> dict[str, Any]:
    unit = "tokens" if reading.limit.unit is Unit.TOKENS else "nanousd"
    kind = "anchored" if reading.limit.anchored else "rolling"
    return {
        "scope": "key" if reading.limit.scope == own_scope else "team",
        "unit": unit,
        "window": f"{duration(reading.limit.window_s)} {kind}",
        "strict": reading.limit.strict,
        "limit": reading.limit.limit,
        "used": reading.used,
        "held": reading.held,
        "remaining": reading.remaining,
        "resets_in": resets_in(reading, now_ms),
    }


def _rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
