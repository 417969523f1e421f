"""What still stands between a password and the console: a code, a new password, a second factor.

Whoever owes a step is nobody yet: every page but that step's own takes them there, and what is not
a page sees no user at all.
"""

import enum

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Exists, OuterRef, Subquery
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators.models import TemporaryPassword

# The id of the factor by which this session was confirmed: another factor confirms it anew.
CONFIRMED_BY = "second_factor"
# The identity provider saw a second factor, and CLAUDCODE_OIDC_SECOND_FACTOR believes it.
VOUCHED = "second_factor_vouched"


class Step(enum.Enum):
    """A step that is owed, by the name of its page."""

    CODE = "operators:code"
    PASSWORD = "operators:password_change"
    ENROL = "operators:second_factor"


def owed(user: User, session: SessionBase) -> Step | None:
    """Return the next step of this session of `user`, `None` when the console is open. One query.

    For whoever serves a signed-in user past Django's middleware, as a WebSocket does.
    """
    devices = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
    temporary, factor_id = (
        User.objects.filter(pk=user.pk)
        .values_list(
            Exists(TemporaryPassword.objects.filter(user=OuterRef("pk"))),
            Subquery(devices.values("pk")[:1]),
        )
        .get()
    )
    vouched = session.get(VOUCHED) is True
    if not vouched and factor_id is not None and session.get(CONFIRMED_BY) != factor_id:
        return Step.CODE
    # Where no password opens anything, there is none to replace.
    if temporary and settings.PASSWORD_SIGN_IN:
        return Step.PASSWORD
    enrol = settings.REQUIRE_2FA and not vouched and factor_id is None
    return Step.ENROL if enrol else None
