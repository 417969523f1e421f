import datetime as dt
import re

import pytest
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from keys.models import AuditEvent, ClaudeModel
from proxy import services
from proxy.accounts import load_account, load_accounts
from proxy.models import UpstreamAccount
from tests import models_server
from tests.factories import a_stranger, a_viewer
from tests.factories import an_operator as make_operator

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

LIST = reverse("admin:proxy_upstreamaccount_changelist")
ADD = reverse("admin:proxy_upstreamaccount_add")
SECRET = "sk-ant-api03-this-is-a-secret-AbCd"
OTHER = "sk-ant-api03-this-is-another-WxYz"
SAVE_AND_TEST = {"proxy_upstreamaccount_save_and_test": "1"}


@pytest.fixture(autouse=True)
def keys(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.ANTHROPIC_API_KEY = settings.ANTHROPIC_AUTH_TOKEN = ""
    settings.ANTHROPIC_BASE_URL = "https://api.anthropic.com"


@pytest.fixture
def operator() -> Client:
    return signed_in(make_operator())


@pytest.fixture
def server():
    with models_server.serving() as running:
        yield running


def signed_in(user) -> Client:
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    return client


def an_account(name: str = "first", **fields) -> UpstreamAccount:
    given = {"base_url": "https://upstream.example", "credential": SECRET, "acting_user": None}
    return services.upstream_add(name=name, **(given | fields))


def a_form(**fields) -> dict:
    return {
        "name": "first",
        "base_url": "https://upstream.example",
        "new_credential": "",
        "auth": "x-api-key",
        "priority": "10",
        "weight": "1",
        "concurrency": "",
        "rpm": "",
        "models": "",
        "enabled": "on",
    } | fields


def page_of(row: UpstreamAccount, name: str = "change") -> str:
    return reverse(f"admin:proxy_upstreamaccount_{name}", args=[row.pk])


def act(client: Client, action: str, *rows: UpstreamAccount):
    chosen = [str(row.pk) for row in rows]
    return client.post(LIST, {"action": action, "_selected_action": chosen}, follow=True)


def suspend(row: UpstreamAccount) -> None:
    fingerprint = load_account(row).fingerprint
    services.upstream_suspend(account_id=row.pk, fingerprint=fingerprint, reason="HTTP 401")


def text(page) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.content.decode()).split())


# --- Add and change -----------------------------------------------------------------------------


def test_an_account_is_added_with_all_that_the_form_says(operator):
    form = a_form(
        new_credential=f" {SECRET} ",
        auth="bearer",
        priority="5",
        weight="3",
        concurrency="20",
        rpm="0",
        models="claude-haiku-*, claude-opus-4-6",
    )
    operator.post(ADD, form)
    (account,) = load_accounts()
    assert account.headers == ((b"authorization", b"Bearer " + SECRET.encode()),)
    assert (account.priority, account.weight, account.concurrency, account.rpm) == (5, 3, 20, 0)
    assert account.models == ("claude-haiku-*", "claude-opus-4-6")
    event = AuditEvent.objects.get()
    assert (event.action, event.address) == ("upstream.add", "192.0.2.7")


def test_the_form_begins_with_anthropics_address(operator):
    assert 'value="https://api.anthropic.com"' in operator.get(ADD).content.decode()


def test_no_page_session_message_or_log_shows_the_credential(operator, caplog):
    made = operator.post(ADD, a_form(new_credential=SECRET), follow=True)
    row = UpstreamAccount.objects.get()
    bad = operator.post(page_of(row), a_form(new_credential=OTHER, weight="0"))
    pages = [made, bad, *(operator.get(path) for path in (LIST, page_of(row)))]
    pages.append(operator.get(page_of(row, "history")))
    assert {page.status_code for page in pages} == {200}
    seen = "".join(page.content.decode() for page in pages) + caplog.text
    seen += str([session.get_decoded() for session in Session.objects.all()])
    seen += str(list(AuditEvent.objects.values()))
    assert SECRET not in seen
    assert OTHER not in seen
    assert "sk-ant-…AbCd" in seen


def test_an_empty_credential_keeps_the_stored_one(operator):
    row = an_account()
    operator.post(page_of(row), a_form(priority="3"))
    (account,) = load_accounts()
    assert (account.priority, account.headers) == (3, ((b"x-api-key", SECRET.encode()),))


def test_a_credential_is_replaced(operator):
    operator.post(page_of(an_account()), a_form(new_credential=OTHER))
    assert load_accounts()[0].headers == ((b"x-api-key", OTHER.encode()),)


def test_a_credential_is_removed(operator):
    operator.post(page_of(an_account()), a_form(remove_credential="on"))
    assert load_accounts()[0].headers == ()


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        pytest.param(a_form(name=""), "This field is required", id="no name"),
        pytest.param(a_form(base_url=""), "Give a whole address", id="no address"),
        pytest.param(a_form(base_url="https://a.example/v1"), "Leave /v1 out", id="v1"),
        pytest.param(a_form(new_credential="two words"), "no credential has", id="a space"),
        pytest.param(a_form(weight="0"), "greater than or equal to 1", id="no weight"),
        pytest.param(a_form(models="claude-opus-4.6"), "No model in the catalogue", id="a slip"),
    ],
)
def test_a_bad_form_comes_back_and_makes_nothing(operator, form, complaint):
    page = operator.post(ADD, form)
    assert complaint in page.content.decode()
    assert not UpstreamAccount.objects.exists()


def test_without_a_key_to_seal_it_the_form_says_so(operator, settings):
    settings.CREDENTIAL_KEYS = []
    page = operator.post(ADD, a_form(new_credential=SECRET))
    assert "CLAUDCODE_CREDENTIAL_KEYS is not set" in page.content.decode()
    assert not UpstreamAccount.objects.exists()


def test_another_server_does_not_get_the_stored_credential(operator):
    row = an_account()
    page = operator.post(page_of(row), a_form(base_url="https://elsewhere.example"))
    assert "Give the credential once more" in page.content.decode()
    assert UpstreamAccount.objects.get().base_url == "https://upstream.example"


def test_the_account_of_the_environment_shows_what_that_says(operator, settings):
    settings.ANTHROPIC_API_KEY = SECRET
    row = services.upstream_from_environment()
    page = operator.get(page_of(row)).content.decode()
    assert "sk-ant-…AbCd, of the environment" in page
    assert 'name="base_url"' not in page
    operator.post(page_of(row), a_form(name="default", priority="2"))
    assert load_accounts()[0].priority == 2


def test_an_account_is_deleted_on_its_own_page_alone(operator):
    first, second = an_account(), an_account("second")
    act(operator, "delete_selected", second)
    operator.post(page_of(first, "delete"), {"post": "yes"})
    assert UpstreamAccount.objects.get() == second
    assert AuditEvent.objects.filter(action="upstream.delete").count() == 1


# --- States -------------------------------------------------------------------------------------


def test_the_list_says_how_each_account_stands(operator, settings, valkey):
    an_account("alpha")
    suspend(an_account("beta"))
    an_account("gamma", enabled=False)
    services.upstream_from_environment()
    resting = an_account("delta")
    until_ms = int((dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)).timestamp() * 1000)
    rest = f'{{"since_ms":0,"until_ms":{until_ms},"strict":true,"failures":1,"reason":"it is out"}}'
    fingerprint = load_account(resting).fingerprint
    valkey.hset("claudcode:rest", f"{resting.pk}.{fingerprint[:8]}", rest)
    shown = text(operator.get(LIST))
    assert "alpha in use –" in shown
    assert "beta suspended HTTP 401" in shown
    assert "gamma disabled –" in shown
    assert "delta resting it is out, for" in shown


def test_an_account_that_nobody_can_open_is_shown(operator, settings):
    an_account("lost")
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    assert "lost unusable No key of CLAUDCODE_CREDENTIAL_KEYS" in text(operator.get(LIST))


def test_the_list_is_shown_without_valkey(operator, settings):
    an_account("alpha")
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    assert "alpha in use" in text(operator.get(LIST))


def test_a_list_costs_the_same_for_one_row_and_for_many(operator, django_assert_max_num_queries):
    for number in range(10):
        an_account(f"account {number}")
    with django_assert_max_num_queries(9):
        assert operator.get(LIST).status_code == 200


# --- Actions ------------------------------------------------------------------------------------


def test_a_test_says_what_came_back_and_lifts_a_suspension(operator, server):
    good = an_account("good", base_url=server.url)
    suspend(good)
    page = act(operator, "test", good, an_account("bad", base_url="http://127.0.0.1:1"))
    assert "good: It answers: HTTP 200" in text(page)
    assert "1 model." in text(page)
    assert "bad: It cannot be reached" in text(page)
    assert "good" in [account.name for account in load_accounts()]
    assert AuditEvent.objects.filter(action="upstream.resume").count() == 1


def test_a_test_that_fails_lifts_nothing(operator, server):
    server.answer = lambda *_: models_server.error(401, "invalid x-api-key")
    row = an_account(base_url=server.url)
    suspend(row)
    assert "It says: invalid x-api-key" in text(act(operator, "test", row))
    assert load_accounts() == ()


def test_save_and_test_tests_what_was_saved(operator, server):
    form = a_form(base_url=server.url, new_credential=SECRET) | SAVE_AND_TEST
    page = operator.post(ADD, form, follow=True)
    row = UpstreamAccount.objects.get()
    assert "first: It answers: HTTP 200" in text(page)
    assert page.redirect_chain == [(page_of(row), 302)]
    operator.post(page_of(row), a_form(base_url=server.url, new_credential=OTHER) | SAVE_AND_TEST)
    assert [headers["x-api-key"] for _, headers in server.asked] == [SECRET, OTHER]


def test_a_bad_form_tests_nothing(operator, server):
    operator.post(ADD, a_form(base_url=server.url, weight="0") | SAVE_AND_TEST)
    assert server.asked == []


def test_enable_disable_and_use_again(operator):
    row = an_account()
    act(operator, "disable", row)
    assert load_accounts() == ()
    act(operator, "enable", row)
    suspend(row)
    assert load_accounts() == ()
    act(operator, "use_again", row)
    assert len(load_accounts()) == 1


# --- Import -------------------------------------------------------------------------------------


def test_the_preview_shows_what_is_new_and_adds_nothing(operator, server):
    server.answer = lambda *_: models_server.models("claude-new", "claude-haiku-4-5-20251001")
    before = ClaudeModel.objects.count()
    shown = text(operator.get(page_of(an_account(base_url=server.url), "import_models")))
    assert "1 of the 2 models" in shown
    assert "claude-new" in shown
    assert "200,000 tokens in, 64,000 out" in shown
    assert ClaudeModel.objects.count() == before


def test_chosen_models_are_added_and_are_not_on_offer_by_themselves(operator, server):
    server.answer = lambda *_: models_server.models("claude-a", "claude-b", "claude-c")
    row = an_account(base_url=server.url)
    form = {"chosen": ["claude-a", "claude-b", "claude-forged"], "enabled": ["claude-b"]}
    operator.post(page_of(row, "import_models"), form)
    added = ClaudeModel.objects.filter(model_id__in=["claude-c", "claude-forged", *form["chosen"]])
    assert list(added.values_list("model_id", "enabled")) == [
        ("claude-a", False),
        ("claude-b", True),
    ]


def test_the_preview_says_why_there_is_none(operator):
    row = an_account(base_url="http://127.0.0.1:1")
    page = text(operator.get(page_of(row, "import_models")))
    assert "could not be listed. It cannot be reached" in page
    assert "Add models" not in page


# --- Who may ------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["test", "enable", "disable", "use_again"])
def test_a_viewer_cannot_act(action, server):
    viewer = signed_in(a_viewer("proxy"))
    row = an_account(base_url=server.url)
    events = AuditEvent.objects.count()
    act(viewer, action, row)
    assert AuditEvent.objects.count() == events
    assert server.asked == []


def test_a_viewer_looks_and_changes_nothing(server):
    viewer = signed_in(a_viewer("proxy"))
    row = an_account(base_url=server.url)
    assert viewer.get(LIST).status_code == 200
    assert viewer.get(page_of(row)).status_code == 200
    assert viewer.post(ADD, a_form(name="x")).status_code == 403
    assert viewer.post(page_of(row), a_form(weight="7")).status_code == 403
    assert viewer.get(page_of(row, "import_models")).status_code == 403
    assert server.asked == []


def test_a_stranger_sees_nothing():
    assert signed_in(a_stranger()).get(LIST).status_code == 403
