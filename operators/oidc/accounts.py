"""Whose account the provider's word opens: links, roles and new accounts. Each leaves its row.

A link is by issuer and subject. An e-mail address makes the first one alone, when the provider
verified it and an admin wrote it into exactly one account that has no link to this provider yet.
"""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from keys import audit
from operators.models import ExternalIdentity, TemporaryPassword
from operators.oidc.configuration import role_map
from operators.roles import roles_of

Claims = dict[str, Any]
# Accounts that the database takes for those of one address; more than two are refused anyway.
ALIKE_MAX = 20


class AccountRefused(Exception):
    """The provider's word opens no account. The message is for who came; `user` is whose it was."""

    def __init__(self, message: str, user: User | None = None) -> None:
        super().__init__(message)
        self.user = user


def account_for(claims: Claims, *, acting_address: str | None) -> User:
    """Return the account that `claims` open, with the roles they give. Raises `AccountRefused`."""
    try:
        with transaction.atomic():
            user, roles = _admitted(claims, acting_address)
    except IntegrityError as error:  # Two first sign-ins at once.
        raise AccountRefused("Somebody signed in just now as the same person. Again.") from error
    # Outside: roles that were lost stay lost when the sign-in is refused for it.
    if roles is not None and not roles:
        raise AccountRefused("None of your groups may sign in here.", user)
    return user


@transaction.atomic
def identity_forget(*, user: User, acting_user: User | None) -> bool:
    """Forget whom providers know `user` as; the next sign-in links anew. Return whether any did."""
    if not ExternalIdentity.objects.filter(user=user).delete()[0]:
        return False
    audit.record("identity.unlink", user, acting_user, None, {})
    return True


def same_address(one: str, other: str) -> bool:
    """Return whether both are one e-mail address, however its plain letters are written.

    Databases find more alike: to some of them the letters ı and i are one.
    """
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())


def _admitted(claims: Claims, address: str | None) -> tuple[User, list[str] | None]:
    email = _verified_email(claims)
    domains = {domain.lower() for domain in settings.OIDC_DOMAINS}
    if domains and email.rpartition("@")[2].lower() not in domains:
        raise AccountRefused("Your e-mail address is not verified, or of no domain allowed here.")
    roles = _roles(claims)
    link = (
        ExternalIdentity.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(issuer=claims["iss"], subject=claims["sub"])
        .first()
    )
    user = link.user if link else _first_time(claims, email, roles, address)
    if not user.is_active:
        raise AccountRefused("Your account here is closed.", user)
    if link:
        link.used_at = timezone.now()
        link.save(update_fields=["used_at"])
    if roles is not None:
        _follow(user, roles, address)
    return user, roles


def _first_time(claims: Claims, email: str, roles: list[str] | None, address: str | None) -> User:
    if not email:
        raise AccountRefused("The provider does not say that your e-mail address is verified.")
    alike = User.objects.select_for_update().filter(email__iexact=email)[:ALIKE_MAX]
    named = [user for user in alike if same_address(user.email, email)]
    if len(named) > 1:
        raise AccountRefused("Several accounts here have your e-mail address.")
    if named and ExternalIdentity.objects.filter(user=named[0], issuer=claims["iss"]).exists():
        raise AccountRefused("The account with your e-mail address is somebody else's.", named[0])
    if not named and not (settings.OIDC_CREATE and roles):
        raise AccountRefused("There is no account for you here. Ask an admin to add one.")
    user = named[0] if named else _make(email, address)
    if not user.is_active:
        raise AccountRefused("Your account here is closed.", user)
    ExternalIdentity.objects.create(user=user, issuer=claims["iss"], subject=claims["sub"])
    if TemporaryPassword.objects.filter(user=user).delete()[0]:
        # Whoever made it still knows it, and nobody needs it now.
        user.set_unusable_password()
        user.save(update_fields=["password"])
    audit.record("identity.link", user, user, address, {"issuer": claims["iss"]})
    return user


def _make(email: str, address: str | None) -> User:
    user = User(username=email, email=email)
    user.set_unusable_password()
    try:
        user.full_clean()
    except ValidationError as error:
        raise AccountRefused("Your e-mail address cannot be the name of an account.") from error
    user.save()
    audit.record("operator.add", user, user, address, {"username": email, "by": "single sign-on"})
    return user


def _follow(user: User, roles: list[str], address: str | None) -> None:
    before = roles_of(user)
    if before == roles:
        return
    user.groups.set(Group.objects.filter(name__in=roles))
    user.is_staff = user.is_superuser or bool(roles)
    user.save(update_fields=["is_staff"])
    detail = {"roles": [before, roles], "by": "single sign-on"}
    audit.record("operator.update", user, user, address, detail)


def _roles(claims: Claims) -> list[str] | None:
    given = role_map()
    if not given:
        return None
    said = claims.get(settings.OIDC_GROUPS_CLAIM)
    groups = said if isinstance(said, list) else [said]
    return sorted({given[group] for group in groups if isinstance(group, str) and group in given})


def _verified_email(claims: Claims) -> str:
    email = claims.get("email")
    # Some providers write the word.
    verified = claims.get("email_verified") in (True, "true")
    return email if verified and isinstance(email, str) and "\0" not in email else ""
