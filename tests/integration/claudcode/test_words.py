"""What pages say where there is nothing, where something is refused or fails, and of time."""

import datetime as dt

import pytest
from django.core.exceptions import PermissionDenied
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.views import defaults

from tests.factories import a_team, an_operator

NOW = dt.datetime(2026, 2, 5, 14, 30, tzinfo=dt.UTC)


def test_a_time_is_printed_with_its_zone():
    assert Template("{{ at|date:'DATETIME_FORMAT' }}").render(Context({"at": NOW})) == (
        "2026-02-05 14:30 UTC"
    )


def test_the_page_of_a_failure_needs_nothing_that_may_have_failed():
    answer = defaults.server_error(RequestFactory().get("/"))
    assert answer.status_code == 500
    assert "Something failed on our side" in answer.content.decode()


def test_who_may_not_is_told_what_to_do():
    answer = defaults.permission_denied(RequestFactory().get("/"), PermissionDenied())
    assert "Ask an admin of this gateway" in answer.content.decode()


def test_a_form_from_before_the_sign_in_says_so():
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/usage/sign-out/")
    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()


@pytest.fixture
def console(db: None) -> Client:
    client = Client()
    client.force_login(an_operator())
    return client


def test_an_empty_list_says_what_its_rows_are_for(console):
    page = console.get("/admin/keys/plan/").content.decode()
    assert "No plan yet" in page
    assert "A plan is a template of limits" in page


def test_a_search_that_finds_nothing_can_be_taken_back(console):
    a_team(name="data")
    page = console.get("/admin/keys/team/?q=nobody").content.decode()
    assert "No team matches" in page
    assert "Show all teams" in page


def test_a_name_at_the_head_of_a_page_keeps_its_letters(console):
    team = a_team(name="data platform")
    page = console.get(f"/admin/keys/team/{team.pk}/change/").content.decode()
    assert "Data platform" not in page
