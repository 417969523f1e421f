"""Keys of authenticator apps at rest: sealed by the first of CLAUDCODE_CREDENTIAL_KEYS.

Codes are made of the key, so it cannot be a digest. django-otp's column holds 40 bytes and a key of
an app has 20: AES-SIV adds 16 and needs no nonce (RFC 5297), where Fernet would add eighty. That
equal keys look equal says nothing, since they are random. What is sealed belongs to one account:
copied to another's row it opens to nothing. 20 bytes are a key that is not sealed, as it is without
CLAUDCODE_CREDENTIAL_KEYS and was before there was sealing.
"""

import base64
import secrets
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

KEY_BYTES = 20
_PURPOSE = b"claudcode second factor"
# AES-SIV with AES-256 takes two keys of 32 bytes.
_SEALING_BYTES = 64


class KeyUnreadable(Exception):
    """No key of CLAUDCODE_CREDENTIAL_KEYS opens it, or it belongs to another account."""


def draw(user_id: int) -> str:
    """Return a new key for the account as it is stored."""
    return seal(secrets.token_bytes(KEY_BYTES), user_id)


def seal(key: bytes, user_id: int) -> str:
    """Return `key` as it is stored, in hexadecimal."""
    for sealing in _sealings():
        return sealing.encrypt(key, _belongs(user_id)).hex()
    return key.hex()


def unseal(stored: str, user_id: int) -> bytes:
    """Return the key. Raises `KeyUnreadable`."""
    content = bytes.fromhex(stored)
    if len(content) == KEY_BYTES:
        return content
    for sealing in _sealings():
        try:
            return sealing.decrypt(content, _belongs(user_id))
        except InvalidTag:
            continue
    raise KeyUnreadable("No key of CLAUDCODE_CREDENTIAL_KEYS opens it.")


def reseal(stored: str, user_id: int) -> str:
    """Return it sealed by the first key, the same if it was already. Raises `KeyUnreadable`."""
    return seal(unseal(stored, user_id), user_id)


def _sealings() -> Iterator[AESSIV]:
    for text in settings.CREDENTIAL_KEYS:
        derived = HKDF(algorithm=SHA256(), length=_SEALING_BYTES, salt=None, info=_PURPOSE)
        yield AESSIV(derived.derive(base64.urlsafe_b64decode(text)))


def _belongs(user_id: int) -> list[bytes]:
    return [_PURPOSE, str(user_id).encode()]
