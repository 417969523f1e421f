"""A link that signs one person in, once: the way in for whoever can run commands and nobody else.

Nothing of it is stored. It is signed by the secret key and names what the account looks like now;
to sign in changes that (`last_login`), so of two uses, or of two links, the first one ends the
other. The token is behind the `#` of the address: browsers send that nowhere, and no log has it.
"""

from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac

from keys import audit

SALT = "operators.sign_in_link"
# Long enough to walk to a browser with it.
SECONDS_MAX = 600
LENGTH_MAX = 300


@transaction.atomic
def link_make(*, user: User, acting_user: User | None) -> str:
    """Return an address that signs `user` in, within `SECONDS_MAX` and once. Leaves one row."""
    token = signing.dumps([user.pk, _looks(user)], salt=SALT)
    audit.record("sign_in.link", user, acting_user, None, {})
    # Without a public address it is the path alone: whoever runs commands knows the rest.
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse('operators:sign_in_link')}#{token}"


def opened_by(token: str) -> User | None:
    """Return whom `token` signs in, their row locked; `None` for one that is used, old or made up.

    To be called in the transaction that signs in: who comes second waits, and finds it used.
    """
    try:
        pk, looked = signing.loads(token[:LENGTH_MAX], salt=SALT, max_age=SECONDS_MAX)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    user = User.objects.select_for_update().filter(pk=pk, is_active=True).first()
    return user if user and constant_time_compare(_looks(user), looked) else None


def _looks(user: User) -> str:
    seen = user.last_login.isoformat() if user.last_login else ""
    return salted_hmac(SALT, f"{user.pk} {user.password} {seen}", algorithm="sha256").hexdigest()
