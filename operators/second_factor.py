"""The second factor of a sign-in: codes of an authenticator app, and recovery codes for its loss.

Codes of the app are checked by django-otp: each is good once, and every wrong one makes the next
wait twice as long. Of recovery codes only digests are stored, keyed with the secret key; each is
good once. Keys of apps are sealed at rest (`factor_key`). Nothing here knows requests or pages.
"""

import base64
import enum
import secrets
from typing import Any

import segno
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_otp.plugins.otp_static.models import StaticDevice

from operators import factor_key
from operators.models import AuthenticatorApp

ISSUED_CODES = 10
# 50 bits each: nobody finds one in the digests without the key, and online they wait.
CODE_LENGTH = 10
# Without the letters and digits that are mistaken for each other.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
# All that django-otp's column holds; 80 bits.
DIGEST_LENGTH = 16
NAME = "authenticator app"


class Passed(enum.StrEnum):
    """By what a code was accepted."""

    APP = "authenticator app"
    RECOVERY = "recovery code"


def factor_of(user: User) -> AuthenticatorApp | None:
    """Return the second factor of `user` if it is set up."""
    device: AuthenticatorApp | None = AuthenticatorApp.objects.filter(
        user=user, confirmed=True
    ).first()
    return device


def begun(user: User) -> AuthenticatorApp:
    """Return the factor that `user` is setting up; it counts for nothing until confirmed."""
    device: AuthenticatorApp
    device, _ = AuthenticatorApp.objects.get_or_create(
        user=user, confirmed=False, defaults={"name": NAME, "key": factor_key.draw(user.pk)}
    )
    try:
        device.bin_key  # noqa: B018
    except factor_key.KeyUnreadable:
        # The keys that sealed it are gone; nothing is lost by another.
        device.key = factor_key.draw(user.pk)
        device.save(update_fields=["key"])
    return device


def verify(user: User, code: str) -> Passed | None:
    """Use up `code`; return by what it was accepted, `None` when it was not."""
    text = _typed(code)
    kind = _kind(text)
    with transaction.atomic():
        # Locked, so that two requests cannot use one code.
        device = kind.objects.select_for_update().filter(user=user, confirmed=True).first()
        if device is None:
            return None
        if kind is AuthenticatorApp:
            return Passed.APP if device.verify_token(text) else None
        return Passed.RECOVERY if device.verify_token(_digest(text)) else None


def wait_s(user: User, code: str) -> int:
    """Return for how long codes of this kind are refused unheard, for wrong ones; 0: not."""
    device = _kind(_typed(code)).objects.filter(user=user, confirmed=True).first()
    allowed, why = device.verify_is_allowed() if device else (True, None)
    if allowed or not why or "locked_until" not in why:
        return 0
    left_s = float((why["locked_until"] - timezone.now()).total_seconds())
    return max(1, int(left_s) + 1)


def codes_left(user: User) -> int:
    """Return how many recovery codes are unused."""
    left: int = StaticDevice.objects.filter(user=user, token_set__isnull=False).count()
    return left


def recovery_codes_make(user: User) -> list[str]:
    """Replace the recovery codes of `user`; return the new ones, which nobody can show again."""
    texts = [
        "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH)) for _ in range(ISSUED_CODES)
    ]
    StaticDevice.objects.filter(user=user).delete()
    device = StaticDevice.objects.create(user=user, name=Passed.RECOVERY.value)
    for text in texts:
        device.token_set.create(token=_digest(text))
    return [f"{text[:5]}-{text[5:]}" for text in texts]


def forget(user: User) -> bool:
    """Remove every factor of `user`, one being set up too; return whether one was in force."""
    in_force = factor_of(user) is not None
    AuthenticatorApp.objects.filter(user=user).delete()
    StaticDevice.objects.filter(user=user).delete()
    return in_force


@transaction.atomic
def keys_reseal() -> tuple[int, int, list[str]]:
    """Seal every key of an app by the first of CLAUDCODE_CREDENTIAL_KEYS. Safe to run again.

    Returns how many were sealed anew, how many were already, and whose nobody can open.
    """
    resealed, current, unreadable = 0, 0, []
    devices = AuthenticatorApp.objects.select_for_update(of=("self",)).select_related("user")
    for device in devices.order_by("pk"):
        try:
            stored = factor_key.reseal(device.key, device.user_id)
        except factor_key.KeyUnreadable:
            unreadable.append(device.user.get_username())
            continue
        if stored == device.key:
            current += 1
            continue
        device.key = stored
        device.save(update_fields=["key"])
        resealed += 1
    return resealed, current, unreadable


def typed_key(device: AuthenticatorApp) -> str:
    """Return the key as it is typed into an app that cannot read the picture."""
    text = base64.b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def picture(device: AuthenticatorApp) -> str:
    """Return the key as a QR code in SVG, drawn here: it is sent to nobody."""
    drawn: str = segno.make(device.config_url, micro=False).svg_inline(
        scale=5, border=4, light="#fff", title="QR code of the key", omitsize=False
    )
    return drawn


def _typed(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _kind(text: str) -> Any:
    return AuthenticatorApp if text.isdecimal() and len(text) == 6 else StaticDevice


def _digest(text: str) -> str:
    keyed = salted_hmac("operators.recovery_code", text, algorithm="sha256").digest()
    return base64.b32encode(keyed).decode()[:DIGEST_LENGTH]
