"""What an empty installation gets once: an upstream account, an operator, a first API key."""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from keys.models import ApiKey
from keys.services import apikey_issue
from operators.roles import Role
from operators.services import operator_add
from proxy.accounts import environment_describes
from proxy.models import Source, UpstreamAccount
from proxy.services import upstream_from_environment
from proxy.standing import Standing, State, address, credential_shown, standings

OPERATOR = "operator"
FIRST_KEY = "first key"


@dataclass(frozen=True, slots=True)
class FirstSecrets:
    """Secrets made by this start, to be shown once; `None` for one that exists already."""

    operator_password: str | None
    api_key: str | None


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Where exchanges go: a line for each account; `simulated` when the simulator stands in."""

    lines: tuple[str, ...]
    simulated: bool


def first_upstream() -> Upstreams:
    """Make the environment's account if there is no account at all; return where exchanges go.

    They go to the simulator when the only account is the environment's and that describes none:
    no credential is set, and no address but Anthropic's.
    """
    upstream_from_environment()
    rows = list(UpstreamAccount.objects.filter(enabled=True))
    alone = [row.credential_source for row in rows] == [Source.ENVIRONMENT]
    if alone and not environment_describes():
        return Upstreams((), simulated=True)
    stands = standings(rows)
    shown = [row for row in rows if stands[row.pk].state is not State.ASIDE]
    return Upstreams(tuple(_line(row, stands[row.pk]) for row in shown), simulated=False)


@transaction.atomic
def first_secrets() -> FirstSecrets:
    """Make the operator if nobody can administer, and a key if there is none."""
    operator = User.objects.filter(is_superuser=True).order_by("pk").first()
    password = None
    if operator is None:
        operator, password = operator_add(
            username=OPERATOR, roles=[Role.ADMIN], superuser=True, acting_user=None
        )
    if ApiKey.objects.exists():
        return FirstSecrets(password, None)
    _, secret = apikey_issue(name=FIRST_KEY, acting_user=operator)
    return FirstSecrets(password, secret.text)


def _line(row: UpstreamAccount, standing: Standing) -> str:
    trouble = "" if standing.state is State.IN_USE else f" ({standing})"
    return f"{row.name}: {address(row)}, {credential_shown(row)}{trouble}"
