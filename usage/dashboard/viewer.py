"""Who looks at usage, and whose usage they may see. The one place that decides it.

A person with the permission to see roll-ups sees everything, the lead of a team the team and their
own keys, anyone else the keys they own. A session that was opened with an API key sees that key,
for as long as the secret that opened it works: neither the secret nor its digest is in the session,
only the key's id and a mark by which the secret is known again.
"""

import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Q, QuerySet
from django.utils.crypto import constant_time_compare, salted_hmac

from keys.core.access import refuse_key
from keys.core.secret import digest, well_formed
from keys.leads import held_to_teams, led_teams
from keys.models import ApiKey
from keys.policy import load_policy

OPENED_BY = "usage_apikey"
# Each noting writes the session; nobody needs to know to the second when someone was last here.
NOTED_EVERY_S = 60
_SALT = "usage.dashboard.viewer"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose usage may be seen: everything, or rows of these teams and of these keys.

    `name` is what the page calls them; `by_key` says that no person is signed in, but a key.
    """

    name: str
    everything: bool = False
    team_ids: frozenset[int] = frozenset()
    apikey_ids: frozenset[int] = frozenset()
    by_key: bool = False

    @property
    def sees(self) -> tuple[bool, frozenset[int], frozenset[int]]:
        """What tells apart the answers for two viewers."""
        return self.everything, self.team_ids, self.apikey_ids

    def apikeys(self) -> "QuerySet[ApiKey]":
        """Return the keys that are theirs to see now."""
        if self.everything:
            return ApiKey.objects.all()
        return ApiKey.objects.filter(Q(team__in=self.team_ids) | Q(pk__in=self.apikey_ids))


def viewer_of(
    user: User | AnonymousUser, session: SessionBase, address: str | None
) -> Viewer | None:
    """Return who looks, `None` for nobody. Asked anew at each request and of each open socket."""
    if isinstance(user, User) and user.is_authenticated and user.is_active:
        return _person(user)
    opened = session.get(OPENED_BY)
    apikey = _opened(opened, address) if isinstance(opened, dict) else None
    if apikey is None:
        return None
    return Viewer(str(apikey), apikey_ids=frozenset({apikey.pk}), by_key=True)


def key_of(secret: str, address: str | None) -> ApiKey | None:
    """Return the key that this secret opens at this moment from this address, if there is one."""
    secret = secret.strip()
    if not well_formed(secret):
        return None
    known = digest(secret)
    if not _opens(known, address):
        return None
    return ApiKey.objects.filter(Q(digest=known) | Q(previous_digest=known)).first()


def open_session(session: SessionBase, apikey: ApiKey, secret: str) -> None:
    """Make the session that of the key alone; whoever knew its name before knows nothing now."""
    session.flush()
    now = int(time.time())
    mark = _mark(digest(secret.strip()))
    session[OPENED_BY] = {"id": apikey.pk, "mark": mark, "at": now, "seen": now}


def note(session: SessionBase) -> None:
    """Prolong a key's session, now and then: it ends when nobody looks any more."""
    opened = session.get(OPENED_BY)
    now = int(time.time())
    if isinstance(opened, dict) and now - opened["seen"] >= NOTED_EVERY_S:
        session[OPENED_BY] = opened | {"seen": now}


def _person(user: User) -> Viewer:
    name = user.get_full_name() or user.get_username()
    if not held_to_teams(user) and user.has_perm("usage.view_hourlyrollup"):
        return Viewer(name, everything=True)
    teams = led_teams(user).values_list("pk", flat=True) if held_to_teams(user) else ()
    owned = ApiKey.objects.filter(owner=user).values_list("pk", flat=True)
    return Viewer(name, team_ids=frozenset(teams), apikey_ids=frozenset(owned))


def _opened(opened: dict[str, Any], address: str | None) -> ApiKey | None:
    if time.time() - opened["at"] > settings.SESSION_AGE_S_MAX:
        return None
    apikey = ApiKey.objects.filter(pk=opened["id"]).first()
    for known in apikey.digests if apikey else ():
        if constant_time_compare(_mark(known), opened["mark"]) and _opens(known, address):
            return apikey
    return None


def _opens(known: str, address: str | None) -> bool:
    """Return whether the secret with this digest would let an exchange in from this address."""
    policy = load_policy(known)
    if policy is None:
        return False
    try:
        came_from = ip_address(address or "")
    except ValueError:
        came_from = None
    return refuse_key(policy, came_from, time.time_ns() // 1_000_000) is None


def _mark(known: str) -> str:
    # Keyed: what is in the sessions' table is no digest by which a key could be looked up.
    return salted_hmac(_SALT, known, algorithm="sha256").hexdigest()
