"""Single sign-on alone: no password opens anything, and commands have a way in that works once."""

import io
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from keys.models import AuditEvent
from operators import services, sign_in_link
from operators.oidc import configuration
from tests.integration.operators.conftest import PASSWORD
from tests.integration.operators.test_oidc import go, invited, provider  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

HOME = reverse("admin:index")
LINK = reverse("operators:sign_in_link")


@pytest.fixture
def no_passwords(settings, provider):  # noqa: F811
    settings.PASSWORD_SIGN_IN = False


@pytest.fixture
def token(person) -> str:
    return sign_in_link.link_make(user=person, acting_user=None).partition("#")[2]


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


# --- The switch ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_passwords", "person")
def test_a_right_password_opens_nothing(sign_in, visitor):
    assert not signed_in(visitor)
    assert sign_in().status_code == 200
    visitor.post(reverse("usage_sign_in"), {"username": "ada", "password": PASSWORD})
    assert not signed_in(visitor)
    assert AuditEvent.objects.filter(action="sign_in.refuse").count() == 2


@pytest.mark.usefixtures("person")
def test_with_the_switch_on_it_does(sign_in, visitor):
    sign_in()
    assert signed_in(visitor)


@pytest.mark.usefixtures("no_passwords")
@pytest.mark.parametrize("page", ["admin:login", "usage_sign_in"])
def test_nobody_is_asked_for_one(visitor, page):
    text = visitor.get(reverse(page)).text
    assert 'name="password"' not in text
    assert "Sign in with single sign-on" in text
    assert reverse("operators:oidc_begin") in text


@pytest.mark.usefixtures("provider")
def test_beside_passwords_both_are_offered_on_both_pages(visitor):
    for page in ("admin:login", "usage_sign_in"):
        text = visitor.get(reverse(page)).text
        assert 'name="password"' in text
        assert "Sign in with single sign-on" in text


@pytest.mark.usefixtures("no_passwords", "invited")
def test_the_provider_lets_in(go, visitor):  # noqa: F811
    assert go().status_code == 302
    assert visitor.get(HOME).status_code == 200


@pytest.mark.usefixtures("no_passwords")
def test_a_temporary_password_is_not_in_the_way(go, visitor, invited):  # noqa: F811
    go()
    services.password_reset(user=invited, acting_user=None)
    visitor.logout()
    go()
    assert visitor.get(HOME).status_code == 200


@pytest.mark.usefixtures("no_passwords", "person")
def test_a_key_still_opens_its_own_usage(visitor):
    assert 'name="api_key"' in visitor.get(reverse("usage_sign_in")).text


def test_off_without_a_provider_is_an_error(settings):
    settings.PASSWORD_SIGN_IN = False
    (fault, _hint) = next(configuration.faults())
    assert "no other way to sign in" in fault


@pytest.mark.usefixtures("no_passwords")
def test_off_with_a_provider_is_none():
    assert list(configuration.faults()) == []


# --- The way in of whoever runs commands --------------------------------------------------------


def rescue(*options: str) -> str:
    said = io.StringIO()
    call_command("operator_rescue", "ada", *options, stdout=said, stderr=io.StringIO())
    return said.getvalue().strip()


@pytest.mark.usefixtures("no_passwords", "person")
def test_a_command_prints_a_link_that_opens_the_console(visitor):
    address = urlsplit(rescue("--sign-in-link"))
    assert (address.netloc, address.path) == ("testserver", LINK)
    assert visitor.get(LINK).status_code == 200
    answer = visitor.post(LINK, {"token": address.fragment})
    assert (answer.status_code, answer["Location"]) == (302, HOME)
    assert visitor.get(HOME).status_code == 200
    actions = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert actions[-2:] == ["sign_in.link", "sign_in"]


def test_a_link_is_good_once(visitor, token):
    visitor.post(LINK, {"token": token})
    other = Client()
    assert "opens nothing" in other.post(LINK, {"token": token}).text
    assert not signed_in(other)


def test_a_sign_in_ends_the_links_there_were(visitor, person, token):
    person.last_login = timezone.now()
    person.save()
    visitor.post(LINK, {"token": token})
    assert not signed_in(visitor)


def test_a_link_is_good_for_ten_minutes(visitor, token, monkeypatch):
    monkeypatch.setattr(sign_in_link, "SECONDS_MAX", -1)
    visitor.post(LINK, {"token": token})
    assert not signed_in(visitor)


def test_a_link_of_a_closed_account_opens_nothing(visitor, person, token):
    person.is_active = False
    person.save()
    visitor.post(LINK, {"token": token})
    assert not signed_in(visitor)


@pytest.mark.parametrize("spoil", [str.upper, lambda t: t[:-1], lambda _t: "x", lambda t: t * 9])
def test_what_was_made_up_opens_nothing_and_is_counted(visitor, token, spoil):
    visitor.post(LINK, {"token": spoil(token)})
    assert not signed_in(visitor)


def test_wrong_tokens_lock_the_address(visitor, token, settings):
    for _ in range(settings.SIGN_IN_FAILURES_MAX):
        visitor.post(LINK, {"token": "wrong"})
    assert visitor.post(LINK, {"token": token}).status_code == 429
    assert not signed_in(visitor)


@pytest.mark.usefixtures("factor")
def test_a_second_factor_is_asked_for_after_a_link(visitor, token):
    visitor.post(LINK, {"token": token})
    assert visitor.get(HOME)["Location"].startswith(reverse("operators:code"))


@pytest.mark.usefixtures("no_passwords", "person")
def test_no_password_is_made_where_it_would_open_nothing():
    with pytest.raises(CommandError, match="--sign-in-link"):
        rescue("--password")


def test_the_page_of_the_link_says_nothing_to_other_sites(visitor):
    page = visitor.get(LINK)
    assert "no-store" in page["Cache-Control"]
    assert page["Referrer-Policy"] in ("same-origin", "no-referrer")
