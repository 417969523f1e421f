import pytest

from keys.models import AuditEvent, Membership
from tests.factories import a_stranger, a_team
from tests.management import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return a_team()


def test_somebody_comes_into_a_team_leads_it_and_leaves(team):
    api, user = ApiClient("teams:*"), a_stranger()
    made = api.post(f"teams/{team.pk}/members", {"user_id": user.pk})
    assert (made.status_code, made.json()["lead"]) == (201, False)
    path = f"teams/{team.pk}/members/{made.json()['id']}"
    assert api.patch(path, {"lead": True}).json()["lead"] is True
    assert [row["username"] for row in api.get(f"teams/{team.pk}/members").json()["items"]] == [
        user.username
    ]
    assert api.delete(path).status_code == 204
    assert not Membership.objects.exists()


def test_nobody_is_in_a_team_twice(team):
    api, user = ApiClient("teams:write"), a_stranger()
    api.post(f"teams/{team.pk}/members", {"user_id": user.pk})
    assert api.post(f"teams/{team.pk}/members", {"user_id": user.pk}).status_code == 422
    assert AuditEvent.objects.filter(action="team.member_add").count() == 1


def test_a_member_of_another_team_is_not_found_here(team):
    api, user = ApiClient("teams:*"), a_stranger()
    made = api.post(f"teams/{a_team().pk}/members", {"user_id": user.pk}).json()
    assert api.patch(f"teams/{team.pk}/members/{made['id']}", {"lead": True}).status_code == 404
    assert api.delete(f"teams/{team.pk}/members/{made['id']}").status_code == 404


def test_a_team_that_is_not_there_has_no_members():
    assert ApiClient("teams:read").get("teams/1234567/members").status_code == 404
