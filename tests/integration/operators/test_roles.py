"""What a role may do in the console its tokens may do over the management API, and no more."""

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError

from keys.api.scopes import SCOPES
from keys.api.tokens import grantable
from operators.roles import Role
from tests.factories import a_team

pytestmark = pytest.mark.django_db

READ = {scope for scope in SCOPES if scope.endswith(":read")}
DAILY = {"keys:write", "teams:write", "maintenance:write"}
DAILY |= {"upstreams:operate", "webtools:operate", "alerts:operate"}


def someone(role: Role) -> User:
    user = User.objects.create_user(role.value.replace(" ", "-"), is_staff=True)
    user.groups.add(Group.objects.get(name=role.value))
    return user


def may_give(user: User, scope: str) -> bool:
    try:
        grantable([scope], user)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        (Role.TEAM_LEAD, set()),
        (Role.VIEWER, READ),
        (Role.OPERATOR, READ | DAILY),
        (Role.ADMIN, set(SCOPES)),
    ],
)
def test_a_role_is_worth_these_scopes(role, scopes):
    user = someone(role)
    assert {scope for scope in SCOPES if may_give(user, scope)} == scopes


@pytest.mark.parametrize(("role", "members"), [(Role.VIEWER, 0), (Role.OPERATOR, 1)])
def test_an_operator_puts_people_into_teams(client, role, members):
    team, user = a_team(), someone(role)
    client.force_login(user)
    rows = {"memberships-TOTAL_FORMS": 1, "memberships-INITIAL_FORMS": 0}
    rows |= {"memberships-0-user": user.pk, "memberships-0-lead": "on", "memberships-0-team": ""}
    rows |= {"budgets-TOTAL_FORMS": 0, "budgets-INITIAL_FORMS": 0, "name": team.name}
    client.post(f"/admin/keys/team/{team.pk}/change/", rows)
    assert team.memberships.filter(lead=True).count() == members
