"""What a role may do in the console its tokens may do over the management API, and no more."""

import pytest
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.urls import reverse

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


@pytest.mark.parametrize(
    ("table", "lookup", "status"),
    [
        pytest.param("auth_user", "password__startswith", 400, id="the hash of a password"),
        pytest.param("auth_user", "first_name__startswith", 400, id="what the list does not show"),
        pytest.param("auth_user", "username__startswith", 200, id="what it shows"),
        pytest.param("auth_user", "is_active__exact", 200, id="a filter"),
        pytest.param("auth_user", "groups__id__exact", 200, id="a filter by another table"),
        pytest.param("keys_apikey", "digest__startswith", 400, id="the digest of a key"),
        pytest.param("keys_apikey", "team__id__exact", 200, id="a filter that asks for its name"),
        pytest.param("keys_apikey", "expires", 200, id="a filter of ours"),
        pytest.param("keys_operatortoken", "digest__startswith", 400, id="the digest of a token"),
        pytest.param("alerts_alerttarget", "address__contains", 400, id="where a webhook leads"),
        pytest.param("alerts_alerttarget", "secret__startswith", 400, id="its sealed secret"),
        pytest.param("proxy_upstreamaccount", "credential__startswith", 400, id="a credential"),
    ],
)
def test_a_list_is_no_oracle_for_what_it_does_not_show(client, table, lookup, status):
    client.force_login(someone(Role.VIEWER))
    page = client.get(reverse(f"admin:{table}_changelist"), {lookup: "1"})
    assert page.status_code == status
