"""The data plane as an ASGI application: routes, the outermost error handling, start and stop.

One `Application` serves one process. It starts with the server's lifespan, or with its first
request under a server that has none (daphne).
"""

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings

from keys.core.addresses import Addresses
from keys.limiter import Limiter, Settlement
from keys.link import Replication
from keys.valkey import async_client
from proxy import services
from proxy.call import BodyStore, Call, ClientGone
from proxy.cold_start import LedgerHistory
from proxy.core.account import Account
from proxy.core.errors import Fault, GatewayError, NotFound, Unavailable, WrongMethod
from proxy.core.retry import Bounds as RetryBounds
from proxy.database import Database
from proxy.endpoints import Endpoints
from proxy.gateway import Bounds, Gateway
from proxy.own_limits import OwnLimits
from proxy.policies import Policies
from proxy.relay import Patience, end_stream
from proxy.rest import SharedRests
from proxy.settler import Settler
from proxy.trace import Traces
from proxy.unwritten import LedgerRows, Unwritten
from proxy.upstream import UpstreamClient
from proxy.upstreams import Upstreams
from proxy.usage import UsageEndpoint
from proxy.waiting import Waiting
from usage.core.tally import OTHER
from usage.counting import tally

logger = logging.getLogger(__name__)

STOP_SECONDS_MAX = 3.0
STOPPING = "The gateway is stopping. Try again shortly."

Handler = Callable[[Call], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What others of this process who admit and settle exchanges share with the data plane."""

    gateway: Gateway
    endpoints: Endpoints
    limiter: Limiter
    settler: Settler
    waiting: Waiting
    database: Database


class Application:
    """Routes `/v1` and keeps the parts of the data plane together."""

    def __init__(self) -> None:
        self._starting: asyncio.Lock | None = None
        self._running = False
        # Called with the parts whenever they are built, by whoever adds to them.
        self.built: Callable[[Parts], None] | None = None
        # Who follows calls; nobody unless traces are asked for.
        self.traces: Traces | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        if not self._running:
            await self.start()
        call = Call(scope, receive, send)
        if self.traces is not None:
            self.trace(call, self._route(call))
        began = time.monotonic()
        try:
            await self._handler(call)(call)
        except ClientGone:
            pass
        except GatewayError as error:
            _let_go(error)
            await self._refuse(call, error)
        except Exception as error:
            logger.exception("a fault of the gateway", extra=call.log_fields)
            _let_go(error)
            await self._refuse(call, Fault("The gateway failed. Try again shortly."))
        except asyncio.CancelledError:
            # The server stops, and the time that it gave to exchanges is over.
            await self._refuse(call, Unavailable(STOPPING, retry_after_s=1))
            await end_stream(call, STOPPING)
        finally:
            self._log(call, began)

    async def lifespan(self, _scope: Any, receive: Any, send: Any) -> None:
        """Start and stop with the server."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def start(self) -> None:
        """Build the parts; harmless if they are there already."""
        self._starting = self._starting or asyncio.Lock()
        async with self._starting:
            if not self._running:
                self._build()
                self._running = True

    async def parts(self) -> Parts:
        """Return the parts that run; starts them if nobody has."""
        if not self._running:
            await self.start()
        return self._parts

    async def stop(self) -> None:
        """Settle what is still open, within a bound, and close every connection."""
        if self._running:
            self._running = False
            await self._settler.stop(STOP_SECONDS_MAX)
            self._unwritten.stop()
            await self._policies.stop()
            await self._upstreams.stop()
            await self._client.close()
            await self._limiter.close()
            await self._valkey.aclose()
            self._database.close()

    def _build(self) -> None:
        self._database = Database()
        self._valkey = async_client()
        self._policies = Policies(
            self._database,
            self._valkey,
            entries_max=settings.POLICY_CACHE_ENTRIES_MAX,
            age_s_max=settings.POLICY_AGE_S_MAX,
            lookups_per_s_max=settings.LOOKUPS_PER_S_MAX,
        )
        self._limiter = self._limits()
        self._unwritten = Unwritten(self._limiter, LedgerRows(self._database))
        waiting = Waiting()

        def settled(settlement: Settlement, event_id: bytes) -> None:
            if event_id:
                self._unwritten.remember(settlement, event_id)
            waiting.freed(settlement.scopes)

        self._settler = Settler(self._limiter, renew_s=settings.LEASE_RENEW_S, settled=settled)
        self._client = UpstreamClient(
            connections_max=settings.UPSTREAM_CONNECTIONS_MAX,
            connect_seconds_max=settings.UPSTREAM_CONNECT_SECONDS_MAX,
            read_seconds_max=settings.UPSTREAM_READ_SECONDS_MAX,
        )
        self._upstreams = self._pool()
        self._gateway = Gateway(
            policies=self._policies,
            limiter=self._limiter,
            settler=self._settler,
            waiting=waiting,
            upstreams=self._upstreams,
            bounds=_bounds(),
            bodies=BodyStore(settings.BODIES_BYTES_MAX),
        )
        self._endpoints = Endpoints(self._gateway, count_tokens_rpm=settings.COUNT_TOKENS_RPM)
        self._parts = Parts(
            gateway=self._gateway,
            endpoints=self._endpoints,
            limiter=self._limiter,
            settler=self._settler,
            waiting=waiting,
            database=self._database,
        )
        self._routes = self._served()
        if self.built is not None:
            self.built(self._parts)
        self._settler.start()
        self._unwritten.start()
        self._policies.start()
        self._upstreams.start()

    def _limits(self) -> Limiter:
        history = LedgerHistory(self._database)
        return Limiter(
            self._valkey,
            history,
            abandonment=history.abandonment,
            is_settled=history.is_settled,
            lease_ttl_ms=settings.LEASE_TTL_S * 1000,
            seconds_max=settings.VALKEY_SECONDS_MAX,
            replication=_replication(),
        )

    def _served(self) -> dict[str, tuple[tuple[str, ...], Handler]]:
        usage = UsageEndpoint(self._gateway, self._database)
        return {
            "/v1/messages": (("POST",), self._gateway.messages),
            "/v1/messages/count_tokens": (("POST",), self._endpoints.count_tokens),
            "/v1/models": (("GET",), self._endpoints.models),
            "/v1/key-status": (("GET",), self._endpoints.key_status),
            "/v1/usage": (("GET",), usage.usage),
            "/v1/api/hello": (("HEAD", "GET"), self._endpoints.hello),
            "/api/hello": (("HEAD", "GET"), self._endpoints.hello),
        }

    def _pool(self) -> Upstreams:
        return Upstreams(
            client=self._client,
            rests=SharedRests(self._valkey),
            limits=OwnLimits(
                self._valkey,
                lease_ttl_s=settings.LEASE_TTL_S,
                renew_s=settings.LEASE_RENEW_S,
                seconds_max=settings.VALKEY_SECONDS_MAX,
            ),
            accounts=self._policies.accounts,
            suspend=self._suspend,
            bounds=RetryBounds(settings.UPSTREAM_ATTEMPTS_MAX, settings.UPSTREAM_RETRY_SECONDS_MAX),
        )

    async def _suspend(self, account: Account, reason: str) -> None:
        await self._database.call(
            services.upstream_suspend,
            account_id=account.id,
            fingerprint=account.fingerprint,
            reason=reason,
        )

    def trace(self, call: Call, route: str) -> None:
        """Follow `call` from now on, if calls are followed; `route` is one of few."""
        if self.traces is not None:
            call.trace = self.traces.follow(
                method=call.method,
                route=route,
                request_id=call.request_id,
                headers=call.raw_headers,
            )

    def _route(self, call: Call) -> str:
        path = normalise(call.path)
        return path if path in self._routes else OTHER

    def _handler(self, call: Call) -> Handler:
        path = normalise(call.path)
        if path in self._routes:
            methods, handler = self._routes[path]
        elif path.startswith("/v1/models/"):
            methods = ("GET",)
            handler = partial(_with, self._endpoints.model, path.removeprefix("/v1/models/"))
        else:
            raise NotFound(f"There is no {path[:200]} here.")
        if call.method not in methods and not (call.method == "HEAD" and "GET" in methods):
            allow = ", ".join(methods)
            raise WrongMethod(f"{path[:200]} takes {allow}, not {call.method}.", allow=allow)
        return handler

    async def _refuse(self, call: Call, error: GatewayError) -> None:
        if call.started:
            return
        tally.count("refusals", error.wire_type)
        if call.trace is not None:
            call.trace.refused(error.wire_type)
        if isinstance(error, NotFound | WrongMethod) and call.policy is None:
            with contextlib.suppress(GatewayError):
                await self._gateway.identify(call)
        if not isinstance(error, Unavailable):  # Then the store may be what is not available.
            await self._gateway.show_limits(call)
        await call.refuse(error)

    def _log(self, call: Call, began: float) -> None:
        status = f"{call.status // 100}xx" if call.status else "none"
        tally.count("requests", self._route(call), status)
        if call.trace is not None:
            call.trace.ended(call.status, call.policy, hung_up=call.hung_up)
        level = _level(call.status)
        if logger.isEnabledFor(level):
            seen = {
                "method": call.method,
                "path": call.path[:200],
                "status": call.status,
                "hung_up": call.hung_up,
                "milliseconds": round((time.monotonic() - began) * 1000),
            }
            logger.log(level, "answered", extra=call.log_fields | seen)


def normalise(path: str) -> str:
    """Return the path with a doubled `/v1` made one and without a slash at its end.

    Every official SDK appends `/v1` to a base URL that ends in `/v1` as documented.
    """
    if path.startswith("/v1/v1/"):
        path = path[3:]
    return path.rstrip("/") or "/"


def _let_go(error: BaseException | None) -> None:
    """Forget the way an error came. Its frames hold the request's body, often in a circle with the
    error itself, and what is in a circle stays until garbage is collected.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _level(status: int) -> int:
    """What an operator should see. The ledger has the rest; strangers must not fill a disk."""
    if status >= 500:
        return logging.WARNING
    return logging.INFO if status >= 400 and status not in (401, 429) else logging.DEBUG


async def _with(handler, argument: str, call: Call) -> None:  # type: ignore[no-untyped-def]
    await handler(call, argument)


def _replication() -> Replication | None:
    replicas = settings.VALKEY_WAIT_REPLICAS
    return Replication(replicas, settings.VALKEY_WAIT_MS_MAX) if replicas else None


def _bounds() -> Bounds:
    return Bounds(
        body_bytes_max=settings.BODY_BYTES_MAX,
        body_seconds_max=settings.BODY_SECONDS_MAX,
        patience=Patience(
            exchange_s=settings.EXCHANGE_SECONDS_MAX,
            ping_after_s=settings.PING_AFTER_S,
            drain_s=settings.DRAIN_SECONDS_MAX,
        ),
        cache_read_weight_percent=settings.CACHE_READ_WEIGHT_PERCENT,
        flights_bytes_max=settings.FLIGHTS_BYTES_MAX,
        trusted_proxies=tuple(ipaddress.ip_network(cidr) for cidr in settings.TRUSTED_PROXIES),
        addresses=Addresses(settings.CLIENT_ADDRESSES),
    )


application = Application()
