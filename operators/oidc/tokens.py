"""Whether an ID token is to be believed (OpenID Connect Core 3.1.3.7). Signatures are PyJWT's."""

import hmac
from collections.abc import Callable
from typing import Any

import jwt

from operators.oidc.configuration import Client

# Never `none`, and never a symmetric one: the public key would be its secret.
KINDS = {"RS256": "RSA", "ES256": "EC"}
REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
# What the clocks of two machines may differ.
LEEWAY_S = 60
# Of OpenID Connect Core 2.
SUBJECT_LENGTH_MAX = 255
RSA_BITS_MIN = 2048

Keys = Callable[[str | None], list[dict[str, Any]]]


class TokenRefused(Exception):
    """The ID token is not to be believed. The message holds nothing of it."""


def verify(token: str, client: Client, nonce: str, keys: Keys) -> dict[str, Any]:
    """Return the claims of `token`. Raises `TokenRefused`, and what `keys` raises."""
    try:
        claims = jwt.decode(
            token,
            _key(token, keys),
            algorithms=list(KINDS),
            audience=client.id,
            issuer=client.issuer,
            leeway=LEEWAY_S,
            options={"require": REQUIRED},
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(type(error).__name__) from error
    audience, party = claims["aud"], claims.get("azp")
    if (isinstance(audience, list) and len(audience) > 1 and party is None) or (
        party not in (None, client.id)
    ):
        raise TokenRefused("made for another party")
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise TokenRefused("made for another sign-in")
    subject = claims["sub"]
    if (
        not isinstance(subject, str)
        or not 0 < len(subject) <= SUBJECT_LENGTH_MAX
        or ("\0" in subject)
    ):
        raise TokenRefused("of no subject")
    return claims


def _key(token: str, keys: Keys) -> Any:
    header = jwt.get_unverified_header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in KINDS:
        raise TokenRefused("signed by a way that is not allowed")
    fitting = [
        key
        for key in keys(kid)
        if key.get("kty") == KINDS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    ]
    if len(fitting) != 1:
        raise TokenRefused("signed by a key that is not the provider's")
    key = jwt.PyJWK(fitting[0], algorithm=algorithm).key
    if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
        raise TokenRefused("signed by a key that is too short")
    return key
