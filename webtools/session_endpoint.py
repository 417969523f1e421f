"""`/mcp/session`: programs open, renew and close their tool sessions here, with their API key.

    POST   /mcp/session         open one; 201 with its id and how long it lasts unless renewed,
                                once gateway processes know of it
    POST   /mcp/session/ID      renew it, or open it again if it was forgotten
    DELETE /mcp/session/ID      close it

A session costs nothing and grants nothing: whether its key may use web tools, and what they cost,
is looked at when they run. The answer says what holds now, so that a program can warn.
"""

import asyncio
import logging
import re
from typing import Any

import orjson
from redis import RedisError

from keys.core.access import KeyPolicy
from keys.valkey import AsyncValkey, async_client
from proxy.application import Application as DataPlane
from proxy.application import application as data_plane
from proxy.call import Call, ClientGone
from proxy.core.errors import Fault, GatewayError, NotFound, Unavailable, WrongMethod
from webtools.application import Application as WebToolsApplication
from webtools.application import application as web_tools
from webtools.sessions import OpenSessions, ToolSessions

logger = logging.getLogger(__name__)

PATH = "/mcp/session"
_ID = re.compile(r"ts_[0-9a-f]{32}")


class SessionApplication:
    """Answers `/mcp/session…`, and knows which keys have a session open."""

    def __init__(self, plane: DataPlane, web_tools: WebToolsApplication) -> None:
        self._plane = plane
        self._web_tools = web_tools
        self._starting: asyncio.Lock | None = None
        self._valkey: AsyncValkey | None = None
        web_tools.has_session = self.is_open

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        call = Call(scope, receive, send)
        try:
            await self._answer(call)
        except ClientGone:
            pass
        except GatewayError as error:
            await call.refuse(error)
        except (RedisError, OSError, TimeoutError):
            logger.warning("a tool session was not kept", exc_info=True)
            message = "The gateway cannot keep tool sessions just now. Try again shortly."
            await call.refuse(Unavailable(message, retry_after_s=2))
        except Exception:
            logger.exception("a fault of the gateway", extra={"request_id": call.request_id})
            await call.refuse(Fault("The gateway failed. Try again shortly."))

    def is_open(self, apikey_id: int) -> bool:
        """Return whether a key has a session; asks nobody."""
        return self._valkey is not None and self._open.is_open(apikey_id)

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        """Start and stop with the server, and the other web tools and the data plane with us."""

        async def told() -> Any:
            message = await receive()
            await (self.stop() if message["type"] == "lifespan.shutdown" else self.start())
            return message

        await self._web_tools.lifespan(scope, told, send)

    async def start(self) -> None:
        """Begin to listen for sessions; harmless if it has begun."""
        self._starting = self._starting or asyncio.Lock()
        async with self._starting:
            if self._valkey is None:
                valkey = async_client()
                self._sessions, self._open = ToolSessions(valkey), OpenSessions(valkey)
                self._open.start()
                self._valkey = valkey

    async def stop(self) -> None:
        """Stop listening."""
        if self._valkey is not None:
            valkey, self._valkey = self._valkey, None
            await self._open.stop()
            await valkey.aclose()

    async def _answer(self, call: Call) -> None:
        gateway = (await self._plane.parts()).gateway
        policy = await gateway.identify(call)
        await self.start()
        session_id = call.path.removeprefix(PATH).strip("/")
        if session_id and not _ID.fullmatch(session_id):
            raise NotFound("This is not the id of a tool session.")
        if call.method == "DELETE" and session_id:
            await self._sessions.close(policy.apikey_id, session_id)
            await call.answer(200, orjson.dumps({"session_id": session_id, "closed": True}))
        elif call.method == "POST":
            await self._hold(call, policy, session_id)
        else:
            allow = "POST, DELETE" if session_id else "POST"
            raise WrongMethod(f"{PATH} takes {allow}, not {call.method}.", allow=allow)

    async def _hold(self, call: Call, policy: KeyPolicy, known_id: str) -> None:
        terms = await (await self._web_tools.tools()).terms(policy)
        opened = not known_id
        if opened:
            known_id = await self._sessions.open(policy.apikey_id)
            await self._open.spread(policy.apikey_id)
        else:
            await self._sessions.renew(policy.apikey_id, known_id)
        held = {
            "session_id": known_id,
            "expires_in_s": self._sessions.ttl_s,
            "web_tools": terms.enabled,
        }
        await call.answer(201 if opened else 200, orjson.dumps(held))


application = SessionApplication(data_plane, web_tools)
