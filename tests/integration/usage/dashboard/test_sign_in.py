"""Sign-in with an API key: what it opens, what is kept of it, and when it ends."""

import datetime as dt

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from keys.core.secret import compose, digest
from keys.models import ApiKey, AuditEvent
from keys.services import apikey_disable, apikey_revoke, apikey_rotate
from tests.factories import a_key_and_secret, an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SIGN_IN = "/usage/sign-in/"


@pytest.fixture
def held():
    return a_key_and_secret(name="laptop")


def paste(client: Client, secret: str, **extra):
    return client.post(SIGN_IN, {"api_key": secret, **extra})


def entered(client: Client) -> bool:
    return client.get("/usage/", headers={"accept": "text/html"}).status_code == 200


def test_a_key_opens_its_usage(client, held):
    assert paste(client, f"  {held[1].text}\n")["Location"] == "/usage/"
    assert entered(client)


def test_neither_secret_nor_digest_is_kept(client, held):
    answer = paste(client, held[1].text)
    kept = str(Session.objects.get().get_decoded()) + str(answer.cookies) + str(answer.headers)
    page = client.get("/usage/").content.decode()
    assert held[1].text not in kept + page
    assert digest(held[1].text) not in kept + page


def test_the_session_is_a_new_one(client, held):
    session = client.session
    session["planted"] = "by someone who knows its name"
    session.save()
    paste(client, held[1].text)
    assert client.session.session_key != session.session_key
    assert "planted" not in client.session
    assert not Session.objects.filter(pk=session.session_key).exists()


def test_cookies_are_out_of_scripts_reach(client, held):
    cookie = paste(client, held[1].text).cookies[settings.SESSION_COOKIE_NAME]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_forms_of_other_sites_are_refused(held):
    assert paste(Client(enforce_csrf_checks=True), held[1].text).status_code == 403


@pytest.mark.parametrize(
    "secret", ["", "sk-cc-", "hello\0", compose("a" * 32).text, "sk-ant-api03"]
)
def test_a_wrong_key_opens_nothing(client, secret):
    answer = paste(client, secret)
    assert answer.status_code == 403
    assert "This key opens nothing" in answer.content.decode()
    assert not entered(client)


def test_wrong_keys_and_passwords_share_one_lock(client, held, settings):
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        assert paste(client, "wrong").status_code == 403
    client.post(SIGN_IN, {"username": "anybody", "password": "wrong"})
    assert paste(client, held[1].text).status_code == 429
    assert not entered(client)


def test_a_right_key_forgives_no_wrong_password(client, held, settings):
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        client.post(SIGN_IN, {"username": "anybody", "password": "wrong"})
    paste(client, held[1].text)
    paste(client, "wrong")
    assert paste(client, held[1].text).status_code == 429


def disable(apikey):
    apikey_disable(apikey=apikey, acting_user=None)


def revoke(apikey):
    apikey_revoke(apikey=apikey, acting_user=None)


def expire(apikey):
    ApiKey.objects.filter(pk=apikey.pk).update(expires_at=timezone.now())


def replace(apikey):
    apikey_rotate(apikey=apikey, acting_user=None, grace=dt.timedelta(0))


def move(apikey):
    ApiKey.objects.filter(pk=apikey.pk).update(cidrs=["192.0.2.0/24"])


@pytest.mark.parametrize("end", [disable, revoke, expire, replace, move])
def test_the_session_ends_with_what_opened_it(client, held, end):
    paste(client, held[1].text)
    assert entered(client)
    end(held[0])
    assert not entered(client)
    assert "Your session has ended" in client.get(SIGN_IN).content.decode()
    assert paste(client, held[1].text).status_code == 403


def test_a_rotation_with_grace_lets_the_session_go_on(client, held):
    paste(client, held[1].text)
    _stored, new = apikey_rotate(apikey=held[0], acting_user=None)
    assert entered(client)
    ApiKey.objects.filter(pk=held[0].pk).update(previous_expires_at=timezone.now())
    assert not entered(client)
    paste(client, new.text)
    assert entered(client)


def test_it_is_in_the_audit_trail(client, held):
    paste(client, held[1].text)
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.target_id) == ("apikey.sign_in", held[0].pk)
    assert event.actor_name == f"key {held[0].prefix}"


def test_a_key_does_not_open_the_console(client, held):
    paste(client, held[1].text)
    assert client.get("/admin/").status_code == 302


def test_an_account_takes_over_from_a_key(client, held):
    paste(client, held[1].text)
    operator = an_operator()
    operator.set_password("correct horse battery")
    operator.save()
    client.post(SIGN_IN, {"username": operator.username, "password": "correct horse battery"})
    assert "usage_apikey" not in client.session
    assert "Everything" in client.get("/usage/").content.decode()


def test_a_key_takes_over_from_an_account(client, held):
    client.force_login(an_operator())
    paste(client, held[1].text)
    assert "Everything" not in client.get("/usage/").content.decode()
    assert client.get("/admin/").status_code == 302


def test_signing_out_ends_it(client, held):
    paste(client, held[1].text)
    client.post("/usage/sign-out/")
    assert not entered(client)


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example/", "javascript:1"])
def test_it_leads_to_no_other_site(client, held, wanted):
    assert paste(client, held[1].text, next=wanted)["Location"] == "/usage/"


def test_it_leads_back(client, held):
    assert paste(client, held[1].text, next="/usage/?span=7d")["Location"] == "/usage/?span=7d"
