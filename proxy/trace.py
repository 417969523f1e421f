"""What the data plane tells whoever follows a call, step by step. Knows no tracing library.

Nobody follows unless an operator asks for traces (docs/observability.md): then `Application.traces`
is set, and `call.trace` with it; otherwise both are `None`, and asking that is all it costs. What
is told are names, numbers and ids, never a prompt or an answer. No method waits or raises.
"""

from collections.abc import Mapping
from typing import Protocol

from keys.core.access import KeyPolicy
from proxy.core.headers import Headers
from proxy.core.meter import Metered
from proxy.core.request import MessagesRequest
from usage.core.event import Closing


class Run(Protocol):
    """One call of a web tool."""

    def ended(self, request_id: str, closing: Closing) -> None:
        """It was settled."""


class Trace(Protocol):
    """One call of a client, from its first byte to its last."""

    @property
    def ids(self) -> Mapping[str, str]:
        """What log lines about the call carry."""

    def noted(self, what: str) -> None:
        """Something happened just now; `what` is one of few words."""

    def sends(self, account: str, model: str, path: str) -> Headers:
        """The call goes to an account; return the headers that are to go along."""

    def failed(self, outcome: str, status: int) -> None:
        """The account gave no answer to want: `outcome` as in `usage.core.event.Attempt`."""

    def settled(
        self,
        request: MessagesRequest,
        closing: Closing,
        metered: Metered,
        first_byte_at: float | None,
    ) -> None:
        """An exchange of the call was settled; `first_byte_at` is on `time.monotonic`'s clock."""

    def runs(self, tool: str, call_id: str) -> Run:
        """A web tool is called; `call_id` is how Claude named the call, "" if it was not Claude."""

    def refused(self, error_type: str) -> None:
        """The client gets an error of ours."""

    def ended(self, status: int, policy: KeyPolicy | None, *, hung_up: bool) -> None:
        """The call is over; `status` 0: nothing was answered."""


class Traces(Protocol):
    """Follows calls."""

    def follow(self, *, method: str, route: str, request_id: str, headers: Headers) -> Trace:
        """Begin to follow a call; `route` is one of few."""
