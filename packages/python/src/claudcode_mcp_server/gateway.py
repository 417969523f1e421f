"""Where a gateway is and how to call it: addresses, headers, and answers as values or errors."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2

from claudcode_mcp_server.errors import refusal, unreachable

# A crawl may take minutes; a gateway that cannot even be connected to shall be told soon.
TIMEOUT = httpx2.Timeout(30, connect=10, read=300)
# An answer of the gateway's own endpoints takes milliseconds.
SMALL_TIMEOUT = httpx2.Timeout(10)


@dataclass(frozen=True)
class Gateway:
    """A gateway and the key to call it with.

    `address` may end in `/v1`, as SDKs are given it, or not. `tavily_api_key` is the caller's own,
    used in place of the operator's.
    """

    address: str
    api_key: str = field(repr=False)
    tavily_api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if urlsplit(self.address).scheme not in ("http", "https"):
            raise ValueError(f"gateway must be an address such as https://…, not {self.address!r}")
        if not self.api_key:
            raise ValueError("api_key is empty")

    @property
    def root(self) -> str:
        """The address without `/v1` and without a slash at its end."""
        return self.address.rstrip("/").removesuffix("/v1").rstrip("/")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every call."""
        own = {"x-tavily-api-key": self.tavily_api_key} if self.tavily_api_key else {}
        return {"x-api-key": self.api_key} | own

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """Call an endpoint with JSON to answer; return that. Raises `GatewayError`."""
        try:
            answer = httpx2.request(
                method, self.root + path, headers=self.headers, timeout=SMALL_TIMEOUT
            )
        except httpx2.HTTPError as error:
            raise unreachable(self.root, error) from error
        body = json_of(answer)
        if not answer.is_success or (answer.content and not isinstance(body, dict)):
            raise refusal(answer.status_code, body)
        return body or {}


def json_of(answer: httpx2.Response) -> Any:
    """Return what an answer says as JSON, `None` if it is something else."""
    try:
        return answer.json()
    except ValueError:
        return None
