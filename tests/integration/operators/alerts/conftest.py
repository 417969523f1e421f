"""A real receiver of webhooks, targets, and keys that have used some of their budgets."""

import asyncio
import datetime as dt
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.fernet import Fernet
from django.utils import timezone
from redis.asyncio import Redis

from keys.core.limits import Unit, Wanted
from keys.limiter import Limiter, Past
from keys.models import ApiKey
from keys.policy import load_policies
from operators.alerts.services import target_add
from tests.ledger_events import a_closing, an_opening, append_event
from usage import ledger

NOTHING_WANTED = Wanted(0, 0, 0, 0, 0, 0)


class Receiver:
    """Keeps what it was sent; answers with `statuses` one after the other, then with 204."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append((dict(self.headers), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.send_header("Location", receiver.url + "elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def receiver():
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def sealing(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture
def webhook(db, settings, sealing, receiver):
    """A target that leads to the receiver, and its secret."""
    settings.ALERT_LOCAL_TARGETS = True
    return target_add(name="hook", channel="webhook", address=receiver.url, acting_user=None)


@pytest.fixture
def use(db, valkey, valkey_url):
    """Let a key use tokens of its windows and of its team's, just now, as Valkey counts them."""

    def use(apikey, tokens, *, cost_nanousd=0, at=None):
        now_s = valkey.time()[0]
        policy = load_policies([apikey])[apikey.pk]

        async def past(limit, _backlog):
            used = limit.unit is Unit.TOKENS and tokens
            return Past([(now_s // limit.bucket_s, tokens)] if used else [])

        async def ask():
            async with (
                Redis.from_url(valkey_url) as client,
                Limiter(client, past, lease_ttl_ms=60_000) as limiter,
            ):
                await limiter.admit(policy, f"{apikey.pk}-x", NOTHING_WANTED, b"{}")

        asyncio.run(ask())
        settle(valkey, apikey, at or timezone.now(), cost_nanousd)

    return use


def settle(valkey, apikey: ApiKey, at: dt.datetime, cost_nanousd: int = 0) -> None:
    """Put an exchange of the key into ledger and roll-up."""
    opening = an_opening(apikey_id=apikey.pk, team_id=apikey.team_id)
    closing = a_closing(cost_nanousd=cost_nanousd)
    append_event(valkey, opening, closing, charged_at_ms=int(at.timestamp() * 1000))
    ledger.drain()
