"""Operator tokens: what is stored of them, who is recognised, what they are worth."""

import datetime as dt

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.utils import timezone

from keys.api.models import OperatorToken
from keys.api.scopes import SCOPES
from keys.api.tokens import (
    may,
    operatortoken_find,
    operatortoken_issue,
    operatortoken_revoke,
)
from keys.models import AuditEvent
from tests.factories import a_key_and_secret, a_stranger, an_operator

pytestmark = pytest.mark.django_db


def a_token(**fields) -> tuple[OperatorToken, str]:
    given = {"name": "ci", "scopes": ["keys:read"], "acting_user": None}
    token, secret = operatortoken_issue(**given | fields)
    return token, secret.text


def test_a_token_is_known_by_its_digest_only():
    token, secret = a_token()
    assert secret.startswith("cc-op-")
    assert secret not in str(OperatorToken.objects.filter(pk=token.pk).values().get())
    assert operatortoken_find(secret) == token


def test_issuing_and_revoking_leave_one_row_each_without_the_secret():
    token, secret = a_token(acting_user=an_operator())
    operatortoken_revoke(token=token, acting_user=None)
    rows = list(AuditEvent.objects.order_by("id"))
    assert [row.action for row in rows] == ["operatortoken.issue", "operatortoken.revoke"]
    assert secret not in str([row.detail for row in rows])


def test_a_second_revocation_leaves_no_row():
    token, _ = a_token()
    done = [operatortoken_revoke(token=token, acting_user=None) for _ in range(2)]
    assert done == [True, False]
    assert AuditEvent.objects.count() == 2


def test_a_revoked_token_is_refused():
    token, secret = a_token()
    operatortoken_revoke(token=token, acting_user=None)
    assert operatortoken_find(secret) is None


def test_an_expired_token_is_refused():
    _, secret = a_token(expires_at=timezone.now() + dt.timedelta(hours=1))
    OperatorToken.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert operatortoken_find(secret) is None


def test_a_token_of_an_account_that_was_closed_is_refused():
    operator = an_operator()
    _, secret = a_token(acting_user=operator)
    operator.is_active = False
    operator.save()
    assert operatortoken_find(secret) is None


def test_an_api_key_is_no_operator_token():
    assert operatortoken_find(a_key_and_secret()[1].text) is None


@pytest.mark.parametrize("text", ["", "cc-op-", "cc-op-" + "a" * 38, "cc-op-é" + "a" * 37])
def test_what_is_no_token_costs_no_query(text, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert operatortoken_find(text) is None


def test_use_is_noted_once_a_minute(django_assert_num_queries):
    _, secret = a_token()
    operatortoken_find(secret)
    assert OperatorToken.objects.get().last_used_at is not None
    with django_assert_num_queries(1):
        operatortoken_find(secret)


# --- Scopes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["keys:read"], ["keys:read"], id="one"),
        pytest.param(["teams:*"], ["teams:read", "teams:write"], id="an area"),
        pytest.param(["*"], sorted(SCOPES), id="all"),
        pytest.param(["keys:*", "keys:read"], ["keys:read", "keys:write"], id="twice"),
    ],
)
def test_words_name_scopes(words, expected):
    assert a_token(scopes=words)[0].scopes == expected


@pytest.mark.parametrize("word", ["key:read", "keys", "k*", "keys:*x", ":*", ""])
def test_a_word_that_names_none_is_refused(word):
    with pytest.raises(ValidationError, match="is not a scope"):
        a_token(scopes=[word])


def test_a_token_has_a_scope():
    with pytest.raises(ValidationError, match="at least one"):
        a_token(scopes=[])


def test_nobody_gives_what_they_do_not_have():
    with pytest.raises(ValidationError, match="may not do this yourself: keys:read"):
        a_token(acting_user=a_stranger())


def test_a_token_loses_what_its_owner_loses():
    owner = a_stranger()
    permission = Permission.objects.get(codename="view_apikey")
    owner.user_permissions.add(permission)
    _, secret = a_token(acting_user=type(owner).objects.get(pk=owner.pk))
    assert may(operatortoken_find(secret), "keys:read")
    owner.user_permissions.remove(permission)
    assert not may(operatortoken_find(secret), "keys:read")


@pytest.mark.parametrize("scope", SCOPES)
def test_every_permission_behind_a_scope_exists(scope):
    named = {tuple(permission.split(".")) for permission in SCOPES[scope]}
    known = Permission.objects.values_list("content_type__app_label", "codename")
    assert named <= set(known)


# --- Commands -----------------------------------------------------------------------------------


def test_the_command_prints_the_secret_once(capsys):
    call_command("operatortoken_issue", "--name", "ci", "--scopes", "keys:*,teams:read")
    (secret,) = [word for word in capsys.readouterr().out.split() if word.startswith("cc-op-")]
    assert operatortoken_find(secret).scopes == ["keys:read", "keys:write", "teams:read"]


def test_the_command_says_which_scopes_there_are():
    with pytest.raises(CommandError, match="There are: keys:read, keys:write"):
        call_command("operatortoken_issue", "--name", "ci", "--scopes", "keys")


def test_the_command_revokes_by_prefix():
    token, secret = a_token()
    call_command("operatortoken_revoke", token.prefix)
    assert operatortoken_find(secret) is None


def test_the_command_refuses_a_prefix_that_nothing_has():
    with pytest.raises(CommandError, match="No token has"):
        call_command("operatortoken_revoke", "cc-op-nobody")
