"""Every write about operators: accounts, roles, passwords, second factors. Each leaves one row.

`acting_user` is who did it, `None` for a command; `acting_address` where a person came from.
A password made here is returned once, opens only the page that replaces it, and is in no row.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from keys import audit
from operators import second_factor
from operators.models import AuthenticatorApp, TemporaryPassword
from operators.roles import Role, roles_of

# 120 bits, 20 characters: nobody guesses it while it waits for its owner.
PASSWORD_BYTES = 15
LAST_ADMIN = "Nobody would be left who can administer. Give someone else the role admin first."


class OperatorChanges(TypedDict, total=False):
    """The fields of an account that an operator may change."""

    email: str
    first_name: str
    last_name: str
    is_active: bool


@transaction.atomic
def operator_add(
    *,
    username: str,
    roles: Iterable[str],
    acting_user: User | None,
    acting_address: str | None = None,
    email: str = "",
    first_name: str = "",
    last_name: str = "",
    superuser: bool = False,
) -> tuple[User, str]:
    """Make an account; return it with its temporary password. Raises `ValidationError`.

    Without a role the account owns keys and cannot enter the console.
    """
    user = User(username=username, email=email, first_name=first_name, last_name=last_name)
    user.is_superuser = superuser
    password = _make_password(user)
    user.full_clean()
    user.save()
    TemporaryPassword.objects.create(user=user)
    _give(user, roles)
    detail = {"username": username, "roles": roles_of(user), "superuser": superuser}
    audit.record("operator.add", user, acting_user, acting_address, detail)
    return user, password


@transaction.atomic
def operator_update(
    *,
    user: User,
    changes: OperatorChanges,
    roles: Iterable[str],
    acting_user: User | None,
    acting_address: str | None = None,
) -> None:
    """Change fields and roles. Raises `ValidationError` if nobody could administer any more."""
    # All who administer, in one order, so that two of them cannot remove each other at once.
    list(_admins().select_for_update(of=("self",)).order_by("pk"))
    stored = User.objects.select_for_update().get(pk=user.pk)
    detail = _changed(stored, changes)
    before = roles_of(stored)
    stored.full_clean(exclude={"password"})
    stored.save()
    _give(stored, roles)
    if (after := roles_of(stored)) != before:
        detail["roles"] = [before, after]
    if not _admins().exists():
        raise ValidationError(LAST_ADMIN)
    if detail:
        audit.record("operator.update", stored, acting_user, acting_address, detail)


@transaction.atomic
def operator_delete(*, user: User) -> None:
    """Delete an account and all that is its own: factors, tokens, memberships, identities.

    Whoever erases a person says so in the audit trail (`keys.erasing`). Raises `ValidationError` if
    nobody could administer any more.
    """
    list(_admins().select_for_update(of=("self",)).order_by("pk"))
    user.delete()
    if not _admins().exists():
        raise ValidationError(LAST_ADMIN)


@transaction.atomic
def password_reset(
    *, user: User, acting_user: User | None, acting_address: str | None = None
) -> str:
    """Give the account a temporary password and return it; its sessions end."""
    password = _make_password(user)
    user.save(update_fields=["password"])
    TemporaryPassword.objects.update_or_create(user=user)
    audit.record("operator.password_reset", user, acting_user, acting_address, {})
    return password


@transaction.atomic
def password_changed(*, user: User, acting_address: str | None) -> None:
    """Note that `user` chose a password of their own."""
    TemporaryPassword.objects.filter(user=user).delete()
    audit.record("operator.password_change", user, user, acting_address, {})


@transaction.atomic
def second_factor_confirm(
    *, user: User, code: str, acting_address: str | None
) -> tuple[AuthenticatorApp, list[str]] | None:
    """Put the factor that `user` began in force; return it with recovery codes.

    `None` when the code is not right.
    """
    device = AuthenticatorApp.objects.select_for_update().filter(user=user, confirmed=False).first()
    if device is None or not device.verify_token("".join(code.split())):
        return None
    # Only one is ever in force: the key that was there before opens nothing any more.
    AuthenticatorApp.objects.filter(user=user).exclude(pk=device.pk).delete()
    device.confirmed = True
    device.save(update_fields=["confirmed"])
    codes = second_factor.recovery_codes_make(user)
    audit.record("second_factor.add", user, user, acting_address, {})
    return device, codes


def second_factor_verify(
    *, user: User, code: str, acting_address: str | None
) -> second_factor.Passed | None:
    """Use up `code`; return by what it was accepted, `None` when it was not. Both leave a row.

    What comes while codes are refused unheard leaves none: a flood must not fill the trail.
    """
    unheard = second_factor.wait_s(user, code) > 0
    passed = second_factor.verify(user, code)
    if passed is None:
        if not unheard:
            # Not in one transaction with the check, whose count of failures must stay.
            audit.record_stranger("second_factor.refuse", user, acting_address, {})
        return None
    detail: dict[str, Any] = {"by": passed.value}
    if passed is second_factor.Passed.RECOVERY:
        detail["codes_left"] = second_factor.codes_left(user)
    audit.record("second_factor.pass", user, user, acting_address, detail)
    return passed


@transaction.atomic
def second_factor_remove(
    *, user: User, acting_user: User | None, acting_address: str | None = None
) -> bool:
    """Let `user` sign in by password alone; return whether there was a factor."""
    if not second_factor.forget(user):
        return False
    audit.record("second_factor.remove", user, acting_user, acting_address, {})
    return True


@transaction.atomic
def recovery_codes_renew(*, user: User, acting_address: str | None) -> list[str]:
    """Replace the recovery codes of `user` and return the new ones."""
    codes = second_factor.recovery_codes_make(user)
    audit.record("second_factor.renew_codes", user, user, acting_address, {})
    return codes


@transaction.atomic
def factor_keys_rotate(
    *, acting_user: User | None, acting_address: str | None = None
) -> tuple[int, int, list[str]]:
    """Seal every key of an authenticator app by the first of CLAUDCODE_CREDENTIAL_KEYS.

    Returns how many were sealed anew, how many were already, and whose nobody can open.
    """
    resealed, current, unreadable = second_factor.keys_reseal()
    if resealed:
        detail = {"resealed": resealed, "unreadable": unreadable}
        audit.record("second_factor.rotate", None, acting_user, acting_address, detail)
    return resealed, current, unreadable


def _make_password(user: User) -> str:
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    user.set_password(password)
    return password


def _give(user: User, roles: Iterable[str]) -> None:
    user.groups.set(Group.objects.filter(name__in=list(roles)))
    # Django's word for "may open the console".
    user.is_staff = user.is_superuser or user.groups.exists()
    user.save(update_fields=["is_staff"])


def _changed(user: User, changes: OperatorChanges) -> dict[str, Any]:
    given: Mapping[str, Any] = changes
    detail = {k: [getattr(user, k), v] for k, v in given.items() if getattr(user, k) != v}
    for name, value in given.items():
        setattr(user, name, value)
    return detail


def _admins() -> Any:
    administers = Q(is_superuser=True) | Q(groups__name=Role.ADMIN.value)
    return User.objects.filter(administers, is_active=True)
