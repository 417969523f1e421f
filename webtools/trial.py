"""Tries the account at Tavily with a call that costs nothing: what the key has used."""

from dataclasses import dataclass
from typing import Any

import httpx

from webtools.services import tavily_account
from webtools.terms import load_credential

SECONDS_MAX = 10.0
BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it, in a sentence."""

    good: bool
    text: str


def tavily_test() -> Trial:
    """Ask Tavily how the gateway's credential stands."""
    account = tavily_account()
    credential = load_credential(account)
    if credential is None:
        if account.credential:
            return Trial(False, "The stored credential cannot be opened. Give it once more.")
        return Trial(False, "There is no credential for Tavily.")
    headers = {"authorization": f"Bearer {credential.secret}", "accept-encoding": "identity"}
    try:
        with (
            httpx.Client(timeout=SECONDS_MAX) as client,
            client.stream("GET", f"{credential.base_url}/usage", headers=headers) as answer,
        ):
            content = b""
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > BYTES_MAX:
                    return Trial(False, "Tavily's answer makes no sense.")
            return _read(answer, content)
    except httpx.HTTPError as error:
        return Trial(False, f"Tavily cannot be reached: {type(error).__name__}.")


def _read(answer: httpx.Response, content: bytes) -> Trial:
    if answer.status_code in (401, 403):
        return Trial(False, f"Tavily refuses the credential ({answer.status_code}).")
    if answer.status_code != 200:
        return Trial(False, f"Tavily answered {answer.status_code}.")
    try:
        found: Any = httpx.Response(200, content=content).json()
        key = found["key"]
        return Trial(
            True, f"It works. Used {key['usage']} of {key['limit'] or 'unlimited'} credits."
        )
    except (ValueError, KeyError, TypeError):
        return Trial(True, "It works.")
