import datetime as dt

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.utils import timezone

from keys import services
from keys.leads import visible
from keys.models import ApiKey, AuditEvent, Membership
from keys.purge import cache_purge
from tests.factories import (
    a_budget,
    a_key,
    a_lead,
    a_plan,
    a_spec,
    a_stranger,
    a_team,
    a_viewer,
    an_operator,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    plan = a_plan(rpm=60, concurrency=5, models=["claude-haiku-*"], budgets=[a_spec(limit=1000)])
    return a_team(plan=plan)


@pytest.fixture
def lead(team):
    return a_lead(team)


def issue(lead, **fields) -> ApiKey:
    return services.apikey_issue(**{"name": "theirs", "acting_user": lead} | fields)[0]


# --- Issuing -------------------------------------------------------------------------------------


def test_a_lead_issues_a_key_on_the_team_s_plan(lead, team):
    apikey = issue(lead, team=team, plan=team.plan)
    assert (apikey.team, apikey.plan, apikey.created_by) == (team, team.plan, lead)
    assert AuditEvent.objects.order_by("-id")[0].actor == lead


@pytest.mark.parametrize(
    "tighter",
    [
        pytest.param({"rpm": 1}, id="fewer requests"),
        pytest.param({"models": ["claude-haiku-4-5"]}, id="one of the models"),
        pytest.param({"budgets": [a_spec(limit=10)]}, id="a smaller budget"),
    ],
)
def test_a_lead_can_give_less(lead, team, tighter):
    assert issue(lead, team=team, plan=team.plan, **tighter).pk


def test_a_lead_can_choose_a_tighter_plan(lead, team):
    small = a_plan(rpm=1, models=["claude-haiku-4-5"], budgets=[a_spec(limit=10)])
    assert issue(lead, team=team, plan=small).plan == small


@pytest.mark.parametrize(
    "wider",
    [
        pytest.param({"rpm": 61}, id="more requests"),
        pytest.param({"concurrency": None}, id="no concurrency limit"),
        pytest.param({"models": []}, id="all models"),
        pytest.param({"budgets": [a_spec(limit=None)]}, id="no budget"),
        pytest.param({"budgets": [a_spec(limit=1001)]}, id="a larger budget"),
        pytest.param({"during_maintenance": True}, id="during maintenance"),
    ],
)
def test_a_lead_cannot_give_more(lead, team, wider):
    with pytest.raises(ValidationError, match="more than the team's plan"):
        issue(lead, team=team, plan=team.plan, **wider)
    assert not ApiKey.objects.exists()


def test_a_lead_cannot_issue_without_the_plan_s_budgets(lead, team):
    with pytest.raises(ValidationError, match="at most 1,000 tokens / 1h"):
        issue(lead, team=team, models=["claude-haiku-4-5"], budgets=[])


def test_a_lead_of_a_team_without_a_plan_issues_nothing():
    team = a_team()
    with pytest.raises(ValidationError, match="no plan yet"):
        issue(a_lead(team), team=team)


@pytest.mark.parametrize("whose", ["another's", "nobody's"])
def test_a_lead_issues_for_their_own_team_only(lead, team, whose):
    other = a_team(plan=team.plan) if whose == "another's" else None
    with pytest.raises(PermissionDenied):
        issue(lead, team=other, plan=team.plan)


def test_a_member_who_does_not_lead_issues_nothing(team):
    member = a_lead()
    services.member_add(team=team, user=member, acting_user=None)
    with pytest.raises(PermissionDenied):
        issue(member, team=team, plan=team.plan)


# --- Managing ------------------------------------------------------------------------------------

DAY = dt.timedelta(days=1)
WRITES = {
    "update": lambda key, who: services.apikey_update(
        apikey=key, changes={"name": "x"}, acting_user=who
    ),
    "disable": lambda key, who: services.apikey_disable(apikey=key, acting_user=who),
    "enable": lambda key, who: services.apikey_enable(apikey=key, acting_user=who),
    "revoke": lambda key, who: services.apikey_revoke(apikey=key, acting_user=who),
    "rotate": lambda key, who: services.apikey_rotate(apikey=key, acting_user=who),
    "end grace": lambda key, who: services.apikey_end_grace(apikey=key, acting_user=who),
    "extend": lambda key, who: services.apikey_extend(
        apikey=key, expires_at=timezone.now() + 9 * DAY, acting_user=who
    ),
    "change plan": lambda key, who: services.apikey_change_plan(
        apikey=key, plan=key.plan, acting_user=who
    ),
    "add a budget": lambda key, who: services.budget_add(
        holder=key, spec=a_spec(window_s=60), acting_user=who
    ),
    "reset": lambda key, who: services.budget_reset(
        budget=key.plan.budgets.get(), apikey=key, acting_user=who
    ),
    "purge": lambda key, who: cache_purge(holder=key, acting_user=who),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_lead_manages_their_team_s_keys(valkey, lead, team, write):
    apikey = a_key(team=team, plan=team.plan, expires_at=timezone.now() + DAY)
    write(apikey, lead)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_lead_manages_nobody_else_s_keys(valkey, lead, team, write):
    other = a_key(team=a_team(), plan=team.plan, expires_at=timezone.now() + DAY)
    before = AuditEvent.objects.count()
    with pytest.raises(PermissionDenied), transaction.atomic():
        write(other, lead)
    assert AuditEvent.objects.count() == before


# So that each has something to do.
UNDONE = {
    "enable": {"disabled_at": timezone.now()},
    "change plan": {"inherited": []},
}


@pytest.mark.parametrize(
    ("write", "undone"),
    [pytest.param(WRITES[name], UNDONE.get(name, {}), id=name) for name in WRITES],
)
def test_an_operator_manages_every_key_and_each_write_leaves_a_row(valkey, team, write, undone):
    apikey = a_key(team=team, plan=team.plan, expires_at=timezone.now() + DAY)
    services.apikey_rotate(apikey=apikey, acting_user=None)
    ApiKey.objects.filter(pk=apikey.pk).update(**undone)
    before, operator = AuditEvent.objects.count(), an_operator()
    write(apikey, operator)
    assert AuditEvent.objects.count() == before + 1
    assert AuditEvent.objects.order_by("-id")[0].actor == operator


@pytest.mark.parametrize(
    "widen",
    [
        pytest.param(
            lambda key, who: services.apikey_update(
                apikey=key, changes={"rpm": 1000}, acting_user=who
            ),
            id="a field",
        ),
        pytest.param(
            lambda key, who: services.apikey_change_plan(
                apikey=key, plan=a_plan(), acting_user=who
            ),
            id="a plan",
        ),
        pytest.param(
            lambda key, who: services.budget_add(
                holder=key, spec=a_spec(limit=None), acting_user=who
            ),
            id="a budget",
        ),
        pytest.param(
            lambda key, who: services.budget_raise(
                budget=key.plan.budgets.get(),
                apikey=key,
                limit=9999,
                until=timezone.now() + DAY,
                acting_user=who,
            ),
            id="a raise",
        ),
    ],
)
def test_a_lead_does_not_widen_a_key_beyond_the_plan(lead, team, widen):
    apikey = a_key(team=team, plan=team.plan)
    with pytest.raises(ValidationError, match="more than the team's plan"), transaction.atomic():
        widen(apikey, lead)


def test_a_lead_does_not_take_a_key_into_another_team(lead, team):
    apikey = a_key(team=team, plan=team.plan)
    with pytest.raises(PermissionDenied), transaction.atomic():
        services.apikey_update(apikey=apikey, changes={"team": a_team()}, acting_user=lead)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(
            lambda t, who: services.team_update(team=t, changes={"rpm": 1}, acting_user=who),
            id="the team",
        ),
        pytest.param(
            lambda t, who: services.plan_update(plan=t.plan, changes={"rpm": 1}, acting_user=who),
            id="the plan",
        ),
        pytest.param(
            lambda t, who: services.budget_add(holder=t, spec=a_spec(), acting_user=who),
            id="the team's budget",
        ),
        pytest.param(
            lambda t, who: services.member_add(team=t, user=a_stranger(), acting_user=who),
            id="its members",
        ),
        pytest.param(lambda t, who: cache_purge(holder=None, acting_user=who), id="all caches"),
    ],
)
def test_a_lead_does_not_change_what_holds_them(lead, team, write):
    with pytest.raises(PermissionDenied):
        write(team, lead)


# --- Who is held to what -------------------------------------------------------------------------


def test_a_lead_sees_the_keys_of_their_teams(lead, team):
    theirs, _ = a_key(team=team), a_key(team=a_team())
    a_key()
    assert list(visible(lead, ApiKey.objects.all())) == [theirs]


def test_a_lead_without_a_team_sees_nothing():
    a_key(team=a_team())
    assert not visible(a_lead(), ApiKey.objects.all()).exists()


@pytest.mark.parametrize("who", [an_operator, a_viewer], ids=["operator", "viewer"])
def test_whoever_is_no_lead_sees_all(who):
    a_key(team=a_team())
    assert visible(who(), ApiKey.objects.all()).count() == 1


def test_the_role_of_a_lead_holds_to_teams(team):
    lead = a_stranger()
    lead.groups.add(Group.objects.get(name="team lead"))
    services.member_add(team=team, user=lead, lead=True, acting_user=None)
    theirs, _ = a_key(team=team), a_key()
    assert list(visible(lead, ApiKey.objects.all())) == [theirs]


# --- Members -------------------------------------------------------------------------------------


def test_members_come_lead_and_go(team):
    user = a_stranger()
    member = services.member_add(team=team, user=user, acting_user=None)
    services.member_update(member=member, lead=True, acting_user=None)
    services.member_update(member=member, lead=True, acting_user=None)
    services.member_remove(member=member, acting_user=None)
    assert not Membership.objects.exists()
    rows = (
        AuditEvent.objects.filter(target_type="team")
        .order_by("id")
        .values_list("action", flat=True)
    )
    assert list(rows) == [
        "team.create",
        "team.member_add",
        "team.member_update",
        "team.member_remove",
    ]


def test_nobody_is_in_a_team_twice(team):
    user = a_stranger()
    services.member_add(team=team, user=user, acting_user=None)
    with pytest.raises(ValidationError):
        services.member_add(team=team, user=user, acting_user=None)


def test_an_operator_may_go_beyond_a_team_s_plan(team):
    apikey = a_key(team=team, rpm=None, acting_user=an_operator())
    assert a_budget(apikey, limit=None).pk
