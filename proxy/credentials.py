"""Upstream credentials at rest: sealed by the first of CLAUDCODE_CREDENTIAL_KEYS, opened by any.

What is sealed is the credential together with the origin it belongs to. A row whose address was
changed behind our back opens to nothing, so a credential never goes where nobody meant it to go.
"""

import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from proxy.core.account import origin

# Anthropic's begin with it.
PREFIX = "sk-ant-"
# Four characters of a shorter one would be a fair part of it.
HINTED_LENGTH_MIN = 24


class NoCredentialKey(Exception):
    """Nothing can be sealed: CLAUDCODE_CREDENTIAL_KEYS is not set."""


class CredentialUnreadable(Exception):
    """No key of CLAUDCODE_CREDENTIAL_KEYS opens it, or it was sealed for another address."""


def seal(credential: str, base_url: str) -> str:
    """Return `credential` as it may be stored, good for the origin of `base_url` alone.

    Raises `NoCredentialKey`.
    """
    return _keys().encrypt(json.dumps([origin(base_url), credential]).encode()).decode()


def unseal(sealed: str, base_url: str) -> str:
    """Return the credential. Raises `CredentialUnreadable`."""
    try:
        belongs_to, credential = json.loads(_keys().decrypt(sealed.encode()))
    except (InvalidToken, NoCredentialKey) as error:
        # Not the error's own words: they must never hold what was being opened.
        raise CredentialUnreadable("No key of CLAUDCODE_CREDENTIAL_KEYS opens it.") from error
    if belongs_to != origin(base_url):
        raise CredentialUnreadable(f"It was stored for {belongs_to}, not for this address.")
    return str(credential)


def reseal(sealed: str) -> str:
    """Return it sealed by the first key, as it is if it was already.

    Raises `CredentialUnreadable`.
    """
    if _opens(settings.CREDENTIAL_KEYS[:1], sealed):
        return sealed
    try:
        return _keys().rotate(sealed.encode()).decode()
    except (InvalidToken, NoCredentialKey) as error:
        raise CredentialUnreadable("No key of CLAUDCODE_CREDENTIAL_KEYS opens it.") from error


def hint(credential: str) -> str:
    """Return what may be shown of it: `sk-ant-…wxyz`, and less of a short one."""
    prefix = PREFIX if credential.startswith(PREFIX) else ""
    shown = credential[-4:] if len(credential) >= HINTED_LENGTH_MIN else ""
    return f"{prefix}…{shown}"


def is_key(text: str) -> bool:
    """Return whether `text` can be one of CLAUDCODE_CREDENTIAL_KEYS."""
    try:
        Fernet(text)
    except ValueError:
        return False
    return True


def _keys() -> MultiFernet:
    if not settings.CREDENTIAL_KEYS:
        raise NoCredentialKey("CLAUDCODE_CREDENTIAL_KEYS is not set.")
    return MultiFernet([Fernet(key) for key in settings.CREDENTIAL_KEYS])


def _opens(keys: Sequence[str], sealed: str) -> bool:
    try:
        MultiFernet([Fernet(key) for key in keys]).decrypt(sealed.encode())
    except (InvalidToken, ValueError):  # ValueError: there is no key at all.
        return False
    return True
