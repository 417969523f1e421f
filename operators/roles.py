"""The roles out of the box: Django groups whose permissions are written here and nowhere else.

They are set after every migration, so a change made by hand to one of these groups does not last.
Groups of other names are left alone. A superuser may do everything without any role.
"""

import enum
from fnmatch import fnmatchcase
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction


class Role(enum.StrEnum):
    """A role as the console shows it, and the name of its group."""

    VIEWER = "viewer"
    TEAM_LEAD = "team lead"
    OPERATOR = "operator"
    ADMIN = "admin"


_LOOK = (
    "keys.view_*",
    "usage.view_*",
    "proxy.view_*",
    "webtools.view_*",
    "alerts.view_*",
    "auth.view_user",
)
_DAILY = (
    "keys.add_apikey",
    "keys.change_apikey",
    "keys.add_team",
    "keys.change_team",
    "keys.delete_team",
    "keys.add_membership",
    "keys.change_membership",
    "keys.delete_membership",
    "keys.add_budget",
    "keys.change_budget",
    "keys.delete_budget",
    "keys.change_maintenance",
    "proxy.operate_upstreamaccount",
    "webtools.add_toolrule",
    "webtools.change_toolrule",
    "webtools.delete_toolrule",
    "alerts.replay_alertdelivery",
)

# `app.codename`, with `*` as in file names.
PERMISSIONS: dict[Role, tuple[str, ...]] = {
    Role.VIEWER: _LOOK,
    # Of no row by itself: which keys are theirs is for the page to say.
    Role.TEAM_LEAD: ("keys.lead_team",),
    Role.OPERATOR: _LOOK + _DAILY,
    Role.ADMIN: ("keys.*", "usage.*", "proxy.*", "webtools.*", "alerts.*", "auth.*_user"),
}


@transaction.atomic
def roles_sync(**_signal: Any) -> None:
    """Give each role's group exactly its permissions, making the groups that are missing."""
    every = list(Permission.objects.select_related("content_type"))
    for role, patterns in PERMISSIONS.items():
        group, _ = Group.objects.get_or_create(name=role.value)
        group.permissions.set([row for row in every if _matches(row, patterns)])


def roles_of(user: User) -> list[str]:
    """Return the names of the roles of `user`, sorted."""
    return sorted(user.groups.values_list("name", flat=True))


def _matches(permission: Permission, patterns: tuple[str, ...]) -> bool:
    name = f"{permission.content_type.app_label}.{permission.codename}"
    return any(fnmatchcase(name, pattern) for pattern in patterns)
