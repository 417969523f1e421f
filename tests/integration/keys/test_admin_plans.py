"""Plans, members and what leads may see, in the console."""

import re

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from keys.core.terms import INHERITABLE
from keys.models import ApiKey, AuditEvent, Membership, Plan, Team
from keys.policy import load_policy
from keys.services import member_add
from tests.factories import a_key, a_plan, a_spec, a_stranger, a_team, an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

KEYS = reverse("admin:keys_apikey_changelist")
ADD_KEY = reverse("admin:keys_apikey_add")
SECRET = re.compile(r"sk-cc-[0-9A-Za-z]{38}")
BEGINNING = {"unit": "tok", "amount": "5000000", "window": "5h"}


def signed_in(user: User) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    return client


@pytest.fixture
def operator() -> Client:
    return signed_in(an_operator())


@pytest.fixture
def team() -> Team:
    return a_team(plan=a_plan(rpm=60, budgets=[a_spec(limit=1000)]))


@pytest.fixture
def lead(team) -> Client:
    user = a_stranger()
    user.groups.add(Group.objects.get(name="team lead"))
    member_add(team=team, user=user, lead=True, acting_user=None)
    return signed_in(user)


def a_form(*rows: dict, initial: int = 0, members: tuple[dict, ...] = (), **fields) -> dict:
    form = {
        "name": "laptop",
        "rpm": "60",
        "concurrency": "5",
        "models": "",
        "cidrs": "",
        "hangup": "abort",
        "wait_s": "0",
        "cache_enabled": "on",
        "memberships-TOTAL_FORMS": str(len(members)),
        "memberships-INITIAL_FORMS": "0",
        "budgets-TOTAL_FORMS": str(len(rows)),
        "budgets-INITIAL_FORMS": str(initial),
    }
    for name, some in (("budgets", rows), ("memberships", members)):
        for number, row in enumerate(some):
            form |= {f"{name}-{number}-{field}": value for field, value in row.items()}
    return form | fields


def page_of(row) -> str:
    return reverse(f"admin:keys_{row._meta.model_name}_change", args=[row.pk])


def test_a_plan_is_made_changed_and_deleted(operator):
    row = {"unit": "tok", "amount": "1000", "window": "1h"}
    operator.post(reverse("admin:keys_plan_add"), a_form(row, name="gold", rpm="7"))
    plan = Plan.objects.get()
    assert (plan.rpm, str(plan.budgets.get())) == (7, "1,000 tokens / 1h")
    row |= {"id": plan.budgets.get().pk, "amount": "2000"}
    operator.post(page_of(plan), a_form(row, initial=1, name="gold", rpm="8"))
    plan.refresh_from_db()
    assert (plan.rpm, str(plan.budgets.get())) == (8, "2,000 tokens / 1h")
    operator.post(reverse("admin:keys_plan_delete", args=[plan.pk]), {"post": "yes"})
    assert not Plan.objects.exists()
    actions = AuditEvent.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == [
        "plan.create",
        "budget.add",
        "plan.update",
        "budget.update",
        "plan.delete",
    ]


def test_a_key_is_issued_on_a_plan_and_begins_with_no_budget_of_its_own(operator):
    plan = a_plan(rpm=7, budgets=[a_spec(limit=70)])
    form = a_form(BEGINNING, plan=plan.pk, inherited=list(INHERITABLE))
    assert SECRET.search(operator.post(ADD_KEY, form).content.decode())
    apikey = ApiKey.objects.get()
    assert (apikey.inherited, apikey.budgets.count()) == (sorted(INHERITABLE), 0)
    assert [limit.limit for limit in load_policy(apikey.digest).limits] == [7, 70]


def test_what_is_not_ticked_is_the_key_s_own(operator):
    plan = a_plan(rpm=7)
    form = a_form(plan=plan.pk, inherited=["concurrency"], rpm="9")
    operator.post(ADD_KEY, form)
    assert ApiKey.objects.get().inherited == ["concurrency"]
    assert load_policy(ApiKey.objects.get().digest).limits[0].limit == 9


def test_ticks_without_a_plan_mean_nothing(operator):
    operator.post(ADD_KEY, a_form(inherited=list(INHERITABLE), rpm="9"))
    assert (ApiKey.objects.get().inherited, ApiKey.objects.get().rpm) == ([], 9)


def test_a_key_s_page_says_what_is_in_force_and_whose_it_is(operator):
    plan = a_plan(name="gold", rpm=7, budgets=[a_spec(limit=70)])
    apikey = a_key(plan=plan, concurrency=3)
    page = re.sub(r"<[^>]+>", "|", operator.get(page_of(apikey)).content.decode())
    assert "|Requests a minute||7||plan gold|" in page
    assert "|In flight||3||this key|" in page
    assert "requests in the last minute, of 7|" in page
    assert "in flight, of 3|" in page
    assert "|Budget||70 tokens / 1h||plan gold|" in page


def test_a_key_gets_a_plan_on_its_page(operator):
    apikey, plan = a_key(budgets=[], cache_enabled=True), a_plan(rpm=7)
    operator.post(page_of(apikey), a_form(name=apikey.name, plan=plan.pk))
    apikey.refresh_from_db()
    assert (apikey.plan, apikey.inherited) == (plan, sorted(INHERITABLE))


def queries_of_the_list(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert "1,000 tokens" in client.get(KEYS).content.decode()
    return len(queries)


def test_keys_of_many_plans_cost_the_list_no_more(operator):
    a_key(plan=a_plan(budgets=[a_spec()]), team=a_team())
    operator.get(KEYS)
    of_one = queries_of_the_list(operator)
    for _ in range(5):
        a_key(plan=a_plan(budgets=[a_spec()]), team=a_team())
    assert queries_of_the_list(operator) == of_one


def test_members_are_added_on_the_team_s_page(operator, team):
    user = a_stranger()
    row = {"id": team.plan_id}
    member = {"user": user.pk, "lead": "on"}
    form = a_form(name=team.name, plan=row["id"], members=(member,), rpm="", concurrency="")
    operator.post(page_of(team), form)
    assert Membership.objects.get().lead is True
    assert AuditEvent.objects.order_by("-id")[0].action == "team.member_add"


# --- Leads ---------------------------------------------------------------------------------------


def test_a_lead_lists_the_keys_of_their_team_alone(lead, team):
    a_key(name="theirs", team=team)
    a_key(name="others", team=a_team())
    page = lead.get(KEYS).content.decode()
    assert ("theirs" in page, "others" in page) == (True, False)


def test_a_lead_opens_no_other_key(lead, team):
    theirs, other = a_key(team=team), a_key(team=a_team())
    assert lead.get(page_of(theirs)).status_code == 200
    assert lead.get(page_of(other)).status_code == 302
    lead.post(page_of(other), a_form(name="stolen"))
    assert ApiKey.objects.get(pk=other.pk).name == other.name


def test_a_lead_issues_a_key_on_the_team_s_plan(lead, team):
    assert lead.get(ADD_KEY).status_code == 200
    form = a_form(team=team.pk, plan=team.plan_id, inherited=list(INHERITABLE))
    assert SECRET.search(lead.post(ADD_KEY, form).content.decode())
    assert ApiKey.objects.get().team == team


def test_a_lead_is_told_why_more_is_refused(lead, team):
    inherited = [name for name in INHERITABLE if name != "rpm"]
    form = a_form(team=team.pk, plan=team.plan_id, inherited=inherited, rpm="1000")
    page = lead.post(ADD_KEY, form, follow=True).content.decode()
    assert "At most 60 requests a minute." in page
    assert not ApiKey.objects.exists()


def test_a_lead_may_choose_their_own_teams_alone(lead, team):
    form = a_form(team=a_team().pk, plan=team.plan_id, inherited=list(INHERITABLE))
    assert "Select a valid choice" in lead.post(ADD_KEY, form).content.decode()
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("action", ["disable", "revoke"])
def test_a_lead_stops_their_own_keys_alone(lead, team, action):
    theirs, other = a_key(team=team), a_key(team=a_team())
    for apikey in (theirs, other):
        chosen = {"_selected_action": [str(apikey.pk)], "typed": apikey.last_four}
        lead.post(KEYS, {"action": action, "confirmed": "yes"} | chosen)
    stopped = ApiKey.objects.exclude(disabled_at=None, revoked_at=None)
    assert list(stopped) == [theirs]


@pytest.mark.parametrize(
    "page", ["keys_team", "keys_plan", "keys_auditevent", "keys_claudemodel", "usage_price"]
)
def test_a_lead_sees_nothing_else(lead, page):
    assert lead.get(reverse(f"admin:{page}_changelist")).status_code == 403


def test_a_lead_cannot_purge_for_everybody(lead):
    assert lead.post(reverse("admin:keys_apikey_purge_everything")).status_code == 403
