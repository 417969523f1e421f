"""People without a role: they cannot enter the console, and still sign in to see their keys."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_otp.plugins.otp_totp.models import TOTPDevice

from operators import services
from tests.factories import a_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SIGN_IN, USAGE = "/usage/sign-in/", "/usage/"
PASSWORD = "correct horse battery staple"


@pytest.fixture
def invited() -> tuple[User, str]:
    """Someone who was given an account without a role, and its temporary password."""
    return services.operator_add(username="dev", roles=[], acting_user=None)


def enter(client: Client, password: str):
    return client.post(SIGN_IN, {"username": "dev", "password": password})


def test_they_replace_a_temporary_password_first(client, invited):
    user, password = invited
    a_key(name="of-dev", owner=user)
    enter(client, password)
    step = client.get(USAGE)
    change = reverse("operators:password_change")
    assert step["Location"].startswith(change)
    assert client.get(step["Location"]).status_code == 200
    typed = {"old_password": password, "new_password1": PASSWORD, "new_password2": PASSWORD}
    assert client.post(change, typed)["Location"] == USAGE
    assert "of-dev" in client.get(USAGE).content.decode()


def test_they_are_not_let_into_the_console(client, invited):
    enter(client, invited[1])
    typed = {"new_password1": PASSWORD, "new_password2": PASSWORD, "old_password": invited[1]}
    client.post(reverse("operators:password_change"), typed)
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


def test_they_are_asked_for_their_second_factor(client):
    user = User.objects.create_user("dev", password=PASSWORD)
    TOTPDevice.objects.create(user=user, confirmed=True)
    enter(client, PASSWORD)
    step = client.get(USAGE)
    assert step["Location"].startswith(reverse("operators:code"))
    assert client.get(step["Location"]).status_code == 200
    assert client.get("/usage/now/", headers={"accept": "application/json"}).status_code == 302


def test_a_stranger_sees_no_page_of_a_step(client):
    for name in ("code", "second_factor", "password_change"):
        page = client.get(reverse(f"operators:{name}"))
        assert page["Location"].startswith("/admin/login/")


def test_a_closed_account_sees_nothing(client):
    user = User.objects.create_user("dev", password=PASSWORD)
    enter(client, PASSWORD)
    assert client.get(USAGE).status_code == 200
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert client.get(USAGE).status_code != 200
