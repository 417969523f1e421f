"""No secret in any page, export, error page, log, cookie, session or address.

Canaries are planted as an operator would, then every page of the console is asked for and searched.
"""

import logging

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import NoReverseMatch, path, reverse

from keys.models import AuditEvent
from keys.services import apikey_issue
from operators import second_factor, services
from operators.models import TemporaryPassword
from proxy.services import upstream_add
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

CREDENTIAL = "sk-ant-api03-canary-in-the-mine-0123456789AbCd"


# What a page that breaks has in its variables.
HELD: dict[str, str] = {}


def broken(request):
    held = dict(HELD)
    raise RuntimeError(f"{len(held)} secrets at hand")


urlpatterns = [path("broken", broken)]


@pytest.fixture
def secrets(settings, valkey) -> dict[str, str]:
    """Everything here that nobody may read; what an environment would hold too."""
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.ANTHROPIC_API_KEY = "sk-ant-api03-of-the-environment-9876543210ZyXw"
    apikey, secret = apikey_issue(name="canary", acting_user=None)
    opening = an_opening(apikey_id=apikey.pk)
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS)
    ledger.drain()
    upstream_add(
        name="mine", base_url="http://127.0.0.1:9", credential=CREDENTIAL, acting_user=None
    )
    user, password = services.operator_add(username="ada", roles=["admin"], acting_user=None)
    device = second_factor.AuthenticatorApp.objects.create(user=user, confirmed=True)
    codes = second_factor.recovery_codes_make(user)
    services.password_reset(user=user, acting_user=None)
    user.refresh_from_db()
    return {
        "API key": secret.text,
        "its digest": secret.digest,
        "credential": CREDENTIAL,
        "credential of the environment": settings.ANTHROPIC_API_KEY,
        "key of credentials": settings.CREDENTIAL_KEYS[0],
        "secret key": settings.SECRET_KEY,
        "password": password,
        "password's hash": user.password,
        "key of the second factor": device.key,
        "the same, typed": second_factor.typed_key(device),
        "recovery code": codes[0],
    }


@pytest.fixture
def insider(secrets) -> Client:
    """An admin who is wholly signed in."""
    user = User.objects.get(username="ada")
    TemporaryPassword.objects.filter(user=user).delete()
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    session = client.session
    session["second_factor"] = second_factor.factor_of(user).pk
    session.save()
    return client


def every_page() -> list[str]:
    pages = ["/", "/admin/", "/admin/login/", "/admin/search/?s=canary", "/admin/second-factor/"]
    pages += ["/admin/password_change/", "/admin/nothing/here/", "/nothing"]
    for model, page in admin.site._registry.items():
        row = apps.get_model(model._meta.label).objects.first()
        for pattern in page.get_urls():
            pages += _ways(pattern.name, row.pk if row else 1)
    return sorted(set(pages))


def _ways(name, pk) -> list[str]:
    found = []
    for args in ([], [pk], [pk, "disable"]):
        try:
            found.append(reverse(f"admin:{name}", args=args))
        except NoReverseMatch:
            continue
    return found


def told(secrets: dict[str, str], text: str) -> list[str]:
    return [name for name, secret in secrets.items() if secret in text]


def read(answer) -> str:
    body = _streamed(answer) if answer.streaming else answer.content
    return f"{body.decode(errors='replace')} {answer.headers} {answer.cookies}"


def _streamed(answer) -> bytes:
    async def whole() -> bytes:
        return b"".join([chunk async for chunk in answer.streaming_content])

    return async_to_sync(whole)() if answer.is_async else b"".join(answer.streaming_content)


def test_no_page_tells_a_secret(insider, secrets):
    pages = every_page()
    assert len(pages) > 60
    found = {page: told(secrets, read(insider.get(page, follow=True))) for page in pages}
    assert {page: names for page, names in found.items() if names} == {}


def test_the_search_is_able_to_find(insider, secrets):
    planted = {"name": "canary", "page": "<!DOCTYPE html>"}
    assert told(planted, read(insider.get(reverse("admin:keys_apikey_changelist")))) == [
        "name",
        "page",
    ]


def test_no_error_page_tells_a_secret(insider, secrets, settings):
    settings.ROOT_URLCONF = __name__
    HELD.update(secrets)
    insider.raise_request_exception = False
    answer = insider.get("/broken", {"held": "nothing"})
    HELD.clear()
    assert answer.status_code == 500
    assert told(secrets, read(answer)) == []


def test_no_log_session_or_trail_tells_a_secret(insider, secrets, caplog):
    caplog.set_level(logging.DEBUG)
    for page in every_page():
        insider.get(page)
    insider.post("/admin/second-factor/", {"code": secrets["recovery code"], "renew": ""})
    Client().post("/admin/login/", {"username": "ada", "password": secrets["password"]})
    Client().post("/admin/login/", {"username": secrets["password"], "password": "wrong"})
    kept = [session.get_decoded() for session in Session.objects.all()]
    trail = list(AuditEvent.objects.values())
    assert told(secrets, f"{caplog.text} {kept} {trail}") == []


def test_no_form_sends_a_secret_in_an_address(insider):
    pages = [read(insider.get(page, follow=True)) for page in every_page()]
    forms = [form for page in pages for form in page.split("<form")[1:]]
    asking = [
        form.split("</form>")[0] for form in forms if 'type="password"' in form.split("</form>")[0]
    ]
    assert asking
    assert [form for form in asking if 'method="post"' not in form.split(">")[0].lower()] == []
