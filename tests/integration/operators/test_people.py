"""Accounts: made, changed and rescued in the console and by commands, each with its row."""

import io
import re

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from keys.models import AuditEvent
from operators import second_factor, services
from operators.roles import Role, roles_of
from tests.factories import an_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

ADD = reverse("admin:auth_user_add")
PEOPLE = reverse("admin:auth_user_changelist")


@pytest.fixture
def admin_client() -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(an_operator())
    return client


def a_person(*roles: str, **fields) -> User:
    given = {"username": "bob", "roles": roles, "acting_user": None}
    return services.operator_add(**given | fields)[0]


def group_ids(*names: str) -> list[int]:
    from django.contrib.auth.models import Group

    return list(Group.objects.filter(name__in=names).values_list("pk", flat=True))


def last() -> AuditEvent:
    return AuditEvent.objects.latest("id")


def test_an_account_is_made_with_a_password_shown_once(admin_client):
    form = {"username": "bob", "email": "bob@example.com", "groups": group_ids("operator")}
    page = admin_client.post(ADD, form)
    bob = User.objects.get(username="bob")
    password = re.search(r'id="password"[^>]*>([^<]+)<', page.content.decode())[1]
    assert bob.check_password(password)
    assert (bob.is_staff, bob.is_superuser, roles_of(bob)) == (True, False, ["operator"])
    assert hasattr(bob, "temporary_password")
    assert "no-store" in page["Cache-Control"]
    assert last().detail == {"username": "bob", "roles": ["operator"], "superuser": False}
    assert password not in str(list(AuditEvent.objects.values()))


def test_without_a_role_nobody_enters():
    assert not a_person().is_staff


def test_a_changed_role_is_in_the_trail(admin_client):
    bob = a_person("viewer")
    form = {"email": "", "first_name": "Bob", "last_name": "", "is_active": "on"}
    url = reverse("admin:auth_user_change", args=[bob.pk])
    answer = admin_client.post(url, form | {"groups": group_ids("operator", "viewer")})
    assert answer.status_code == 302
    assert roles_of(bob) == ["operator", "viewer"]
    row = last()
    assert (row.action, row.address) == ("operator.update", "192.0.2.7")
    assert row.detail == {"first_name": ["", "Bob"], "roles": [["viewer"], ["operator", "viewer"]]}


def test_a_closed_account_is_signed_out(admin_client):
    bob = a_person("admin")
    an_operator()
    client = Client()
    client.force_login(bob)
    services.operator_update(
        user=bob, changes={"is_active": False}, roles=["admin"], acting_user=None
    )
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


@pytest.mark.parametrize(
    ("changes", "roles"),
    [({"is_active": False}, ["admin"]), ({}, ["viewer"])],
    ids=["closed", "another role"],
)
def test_the_last_admin_stays(changes, roles):
    bob = a_person("admin")
    with pytest.raises(ValidationError, match="Nobody would be left"):
        services.operator_update(user=bob, changes=changes, roles=roles, acting_user=None)


def test_a_taken_name_is_refused(admin_client):
    a_person()
    page = admin_client.post(ADD, {"username": "bob"})
    assert "already exists" in page.content.decode()


def test_a_password_is_reset_after_a_question(admin_client):
    bob = a_person("viewer")
    old = bob.password
    url = reverse("admin:auth_user_reset_password", args=[bob.pk])
    assert "their sessions end" in admin_client.get(url).content.decode()
    bob.refresh_from_db()
    assert bob.password == old
    page = admin_client.post(url)
    password = re.search(r'id="password"[^>]*>([^<]+)<', page.content.decode())[1]
    bob.refresh_from_db()
    assert bob.check_password(password)
    assert (last().action, last().detail) == ("operator.password_reset", {})


def test_a_lost_second_factor_is_removed(admin_client):
    bob = a_person("viewer")
    second_factor.AuthenticatorApp.objects.create(user=bob, confirmed=True)
    admin_client.post(reverse("admin:auth_user_remove_second_factor", args=[bob.pk]))
    assert second_factor.factor_of(bob) is None
    assert (last().action, last().target_id) == ("second_factor.remove", bob.pk)


def test_the_list_says_who_may_what(admin_client, django_assert_max_num_queries):
    a_person("viewer", "operator")
    with django_assert_max_num_queries(12):
        page = admin_client.get(PEOPLE).content.decode()
    assert "operator, viewer" in page


def test_keys_of_second_factors_have_no_page():
    from django.contrib import admin

    assert not [m for m in admin.site._registry if m._meta.app_label.startswith(("otp", "axes"))]


# --- Commands -----------------------------------------------------------------------------------


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def test_a_command_makes_an_account():
    password = run("operator_add", "bob", "--role", "admin")
    bob = User.objects.get(username="bob")
    assert bob.check_password(password)
    assert roles_of(bob) == [Role.ADMIN]
    assert last().actor_name == "manage.py"


def test_a_command_gives_a_password_and_removes_a_factor():
    bob = a_person("admin")
    second_factor.AuthenticatorApp.objects.create(user=bob, confirmed=True)
    password = run("operator_rescue", "bob", "--password", "--second-factor")
    bob.refresh_from_db()
    assert bob.check_password(password)
    assert second_factor.factor_of(bob) is None


@pytest.mark.parametrize("words", [["bob"], ["--password"], ["nobody", "--second-factor"]])
def test_a_command_that_says_too_little_is_refused(words):
    a_person()
    with pytest.raises(CommandError):
        run("operator_rescue", *words)
