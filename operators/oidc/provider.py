"""The one place that calls the identity provider: its description, its keys, its tokens.

Every call is bounded in time and size, follows no redirect, and goes over TLS or to this machine.
Description and keys are kept for a while; a key that is not among them makes them be read again,
but not more often than READ_AGAIN_AFTER_S: anybody can name a key that does not exist.
"""

import json
import time
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus

import httpx

from operators.oidc.configuration import Client, safe_address

SECONDS_MAX = 8.0
# Descriptions and key sets are a few KB; the largest known key set has 30.
BYTES_MAX = 512 * 1024
KEPT_S = 600
READ_AGAIN_AFTER_S = 30
# After a failure nobody is asked for so long, so that visitors cannot tie up threads.
RESTS_S = 3
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderAway(Exception):
    """The provider does not answer as it must. The message holds no secret."""


class CodeRefused(Exception):
    """The provider does not take the code."""


class Provider:
    """One provider, for the life of this process. Threads may read twice; that harms nothing."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._description: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None
        self._rests_until = 0.0

    def description(self) -> dict[str, Any]:
        """Return the provider's description. Raises `ProviderAway`."""
        now = time.monotonic()
        if self._description is None or now - self._description[0] > KEPT_S:
            found = self._read(
                self._client.issuer.rstrip("/") + "/.well-known/openid-configuration"
            )
            # OpenID Connect Discovery 4.3: else one provider could speak for another.
            if found.get("issuer") != self._client.issuer:
                raise ProviderAway("the description is of another issuer")
            if not all(safe_address(str(found.get(name, ""))) for name in ENDPOINTS):
                raise ProviderAway("the description names an address that is not https")
            self._description = now, found
        return self._description[1]

    def keys(self, kid: str | None) -> list[dict[str, Any]]:
        """Return the keys that may have signed under `kid`. Raises `ProviderAway`."""
        now = time.monotonic()
        kept = self._keys
        stale = kept is None or now - kept[0] > KEPT_S
        unknown = kept is not None and not _named(kept[1], kid)
        if stale or (unknown and kept is not None and now - kept[0] > READ_AGAIN_AFTER_S):
            rows = self._read(self.description()["jwks_uri"]).get("keys")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ProviderAway("the key set is not one")
            self._keys = kept = now, rows
        assert kept is not None
        return _named(kept[1], kid)

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> str:
        """Return the ID token for `code`. Raises `ProviderAway` and `CodeRefused`."""
        described = self.description()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        ways = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        auth = None
        if "client_secret_basic" in ways:
            # RFC 6749 2.3.1: both are form-encoded before they become a header.
            auth = (quote_plus(self._client.id), quote_plus(self._client.secret))
        else:
            form |= {"client_id": self._client.id, "client_secret": self._client.secret}
        status, answer = self._call("POST", described["token_endpoint"], data=form, auth=auth)
        if 400 <= status < 500:
            raise CodeRefused(str(answer.get("error"))[:40])
        token = answer.get("id_token")
        if status != 200 or not isinstance(token, str):
            raise ProviderAway(f"the answer for a code was {status} without an ID token")
        return token

    def _read(self, url: str) -> dict[str, Any]:
        status, answer = self._call("GET", url)
        if status != 200:
            raise ProviderAway(f"the answer was {status}")
        return answer

    def _call(self, method: str, url: str, **sent: Any) -> tuple[int, dict[str, Any]]:
        if time.monotonic() < self._rests_until:
            raise ProviderAway("it did not answer a moment ago")
        try:
            return _bounded(method, url, **sent)
        except (httpx.HTTPError, httpx.InvalidURL, ProviderAway) as error:
            self._rests_until = time.monotonic() + RESTS_S
            # httpx's own words may hold an address; its kind says enough.
            known = isinstance(error, ProviderAway)
            raise ProviderAway(str(error) if known else type(error).__name__) from error


@lru_cache(maxsize=8)
def provider(client: Client) -> Provider:
    """Return the provider of `client`, the same one each time."""
    return Provider(client)


def _named(keys: list[dict[str, Any]], kid: str | None) -> list[dict[str, Any]]:
    return [key for key in keys if kid is None or key.get("kid") == kid]


def _bounded(method: str, url: str, **sent: Any) -> tuple[int, dict[str, Any]]:
    ends_at = time.monotonic() + SECONDS_MAX
    # As it is on the wire: a compressed answer could be of any size.
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    body = b""
    with (
        httpx.Client(follow_redirects=False, timeout=SECONDS_MAX / 2) as http,
        http.stream(method, url, headers=headers, **sent) as answer,
    ):
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > BYTES_MAX:
                raise ProviderAway(f"the answer is longer than {BYTES_MAX} bytes")
            if time.monotonic() > ends_at:
                raise ProviderAway(f"the answer takes longer than {SECONDS_MAX:.0f} seconds")
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderAway(f"the answer was {answer.status_code} and no JSON") from error
    if not isinstance(parsed, dict):
        raise ProviderAway("the answer is no JSON object")
    return answer.status_code, parsed
