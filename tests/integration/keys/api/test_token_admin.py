"""Operator tokens in the console: a secret is shown once, nobody gives more than they have."""

import re

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from keys.api.models import OperatorToken
from keys.api.tokens import operatortoken_find, operatortoken_issue
from keys.models import AuditEvent
from tests.factories import a_stranger, a_viewer, an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

LIST = "/admin/keys/operatortoken/"
WISH = {"name": "ci", "scopes": ["keys:read", "teams:read"], "expires_at_0": "", "expires_at_1": ""}


def browser(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def actions(client: Client, token: OperatorToken):
    return client.post(LIST, {"action": "revoke", "_selected_action": [token.pk]})


def a_token() -> OperatorToken:
    return operatortoken_issue(name="ci", scopes=["keys:read"], acting_user=None)[0]


def test_a_token_is_issued_and_its_secret_shown_once():
    operator = an_operator()
    client = browser(operator)
    page = client.post(f"{LIST}add/", WISH)
    secret = re.search(r"cc-op-[0-9A-Za-z]{38}", page.text)[0]
    token = operatortoken_find(secret)
    assert (token.created_by, token.scopes) == (operator, ["keys:read", "teams:read"])
    assert "no-store" in page["cache-control"]
    assert secret not in client.get(LIST).text + client.get(f"{LIST}{token.pk}/change/").text
    assert AuditEvent.objects.filter(action="operatortoken.issue", actor=operator).count() == 1


def test_a_form_that_is_sent_again_makes_no_second_token():
    client = browser(an_operator())
    for _ in range(2):
        client.post(f"{LIST}add/", WISH)
    assert OperatorToken.objects.count() == 1


def test_nobody_gives_what_they_do_not_have():
    someone = a_stranger()
    someone.user_permissions.set(
        Permission.objects.filter(codename__in=["add_operatortoken", "view_operatortoken"])
    )
    page = browser(someone).post(f"{LIST}add/", WISH)
    assert "You may not do this yourself: keys:read, teams:read." in page.text
    assert not OperatorToken.objects.exists()


def test_a_token_is_revoked_in_the_console():
    token = a_token()
    actions(browser(an_operator()), token)
    token.refresh_from_db()
    assert token.status == "revoked"


def test_a_viewer_looks_and_does_nothing():
    token = a_token()
    client = browser(a_viewer())
    assert token.masked in client.get(LIST).text
    assert client.get(f"{LIST}add/").status_code == 403
    actions(client, token)
    token.refresh_from_db()
    assert token.status == "live"


def test_a_stranger_sees_nothing():
    assert browser(a_stranger()).get(LIST).status_code == 403
