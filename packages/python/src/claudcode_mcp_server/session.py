"""A tool session: tells the gateway that a key wants web tools in its requests for now.

The gateway forgets a session that is not renewed in time, so a program that is killed leaves
nothing behind. A thread renews it at a third of that time; renewing a session that was forgotten
(a laptop slept) opens it again. Closing never raises: what cannot be closed ends by itself.
"""

import atexit
import contextlib
import logging
import os
import threading
from typing import Any

from claudcode_mcp_server.errors import GatewayError, KeyRefused
from claudcode_mcp_server.gateway import Gateway

logger = logging.getLogger(__name__)

PATH = "/mcp/session"
OFF = "The gateway's operator has not allowed this key to use web tools: Claude will have none."
# Whatever a gateway says, it is asked no more often than this.
RENEW_S_MIN = 1.0
# A program shall not wait long for its end.
CLOSE_S_MAX = 3.0


class ToolSession:
    """Open from `open()` until `close()` or until the program ends."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._id = ""
        self._closing = threading.Event()
        self._keeper: threading.Thread | None = None
        # A child of fork() inherits what runs at exit; the session is its parent's.
        self._owner = os.getpid()

    @property
    def open_now(self) -> bool:
        """Whether it was opened and not closed."""
        return bool(self._id)

    def open(self) -> None:
        """Open it, unless it is open. Raises `GatewayError`."""
        with self._lock:
            if self._id:
                return
            answer = self._gateway.ask("POST", PATH)
            self._id, self._closing = str(answer["session_id"]), threading.Event()
            if answer.get("web_tools") is False:
                logger.warning(OFF)
            atexit.register(self.close)
            self._keeper = threading.Thread(
                target=self._keep,
                args=(self._id, self._closing, _interval_s(answer)),
                name="claudcode-tool-session",
                daemon=True,
            )
            self._keeper.start()

    def close(self) -> None:
        """Close it; harmless if it is not open."""
        with self._lock:
            session_id, self._id = self._id, ""
            self._closing.set()
        if not session_id or os.getpid() != self._owner:
            return
        atexit.unregister(self.close)
        if self._keeper is not None:
            # A renewal under way would open it again.
            self._keeper.join(CLOSE_S_MAX)
        with contextlib.suppress(GatewayError):
            self._gateway.ask("DELETE", f"{PATH}/{session_id}")

    def _keep(self, session_id: str, closing: threading.Event, interval_s: float) -> None:
        while not closing.wait(interval_s):
            try:
                interval_s = _interval_s(self._gateway.ask("POST", f"{PATH}/{session_id}"))
            except KeyRefused as error:
                logger.warning("the gateway's web tools are off: %s", error)
                return
            except GatewayError as error:
                logger.warning("the tool session could not be renewed: %s", error)


def _interval_s(answer: dict[str, Any]) -> float:
    return max(float(answer["expires_in_s"]) / 3, RENEW_S_MIN)
