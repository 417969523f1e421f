"""An upstream account as the gateway obeys it, and what an address of one may look like."""

import fnmatch
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from keys.core.access import undated

# No row has it: the account that the environment describes when the table is empty.
ENVIRONMENT_ID = 0

DEFAULT_PORTS = {"http": 80, "https": 443}


class BadAddress(ValueError):
    """Exchanges cannot be sent to this address; the message says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """One Anthropic-compatible account.

    Lower `priority` goes first; accounts of the same one share by `weight`. `concurrency` and
    `rpm` are its own limits, `None` for none. `models` are ids or `*` patterns, empty for all.
    `headers` carry the credential. `fingerprint` changes with the address and the credential and
    tells neither: trouble that was seen with another one is no trouble of this account.
    """

    id: int
    name: str
    base_url: str
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    priority: int
    weight: int
    concurrency: int | None
    rpm: int | None
    models: tuple[str, ...]
    fingerprint: str

    def serves(self, model: str) -> bool:
        """Return whether exchanges for `model`, an id or a dated snapshot of it, may go here."""
        if not self.models:
            return True
        names = {model, undated(model)}
        return any(fnmatch.fnmatchcase(n, pattern) for pattern in self.models for n in names)


def parse_base_url(text: str) -> str:
    """Return the address without a slash at its end. Raises `BadAddress`."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port  # Parsed when it is asked for.
    except ValueError as error:
        raise BadAddress(f"This is no address: {error}.") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise BadAddress("Give a whole address, such as https://api.anthropic.com.")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("The address must hold no name or password; the credential is apart.")
    if "?" in url or "#" in url:
        raise BadAddress("The address must end before any ? or #.")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise BadAddress("The address holds a character that no address has.")
    if parts.path.endswith("/v1"):
        raise BadAddress("Leave /v1 out: it is added to the address.")
    return url


def origin(base_url: str) -> str:
    """Return scheme, host and port of an address: who gets what is sent there."""
    parts = urlsplit(base_url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"
