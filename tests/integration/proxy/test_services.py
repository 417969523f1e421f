import io
import logging

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from keys.models import AuditEvent, ClaudeModel
from proxy import services
from proxy.accounts import load_account, load_accounts
from proxy.core.listing import Candidate
from proxy.models import UpstreamAccount

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

SECRET = "sk-ant-api03-this-is-a-secret-AbCd"
OTHER = "sk-ant-api03-this-is-another-WxYz"


@pytest.fixture(autouse=True)
def keys(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.ANTHROPIC_API_KEY = settings.ANTHROPIC_AUTH_TOKEN = ""
    settings.ANTHROPIC_BASE_URL = "https://api.anthropic.com"


def an_account(name: str = "first", **fields) -> UpstreamAccount:
    given = {"base_url": "https://upstream.example", "credential": SECRET, "acting_user": None}
    return services.upstream_add(name=name, **(given | fields))


def update(account: UpstreamAccount, credential: str | None = None, **changes) -> UpstreamAccount:
    return services.upstream_update(
        account=account, changes=changes, credential=credential, acting_user=None
    )


def sent(account: UpstreamAccount) -> tuple[tuple[bytes, bytes], ...]:
    return load_account(UpstreamAccount.objects.get(pk=account.pk)).headers


def suspend(account: UpstreamAccount, **fields) -> bool:
    found = load_account(account)
    given = {"account_id": found.id, "fingerprint": found.fingerprint, "reason": "HTTP 401"}
    return services.upstream_suspend(**(given | fields))


# --- Adding -------------------------------------------------------------------------------------


def test_an_account_is_stored_with_its_credential_sealed():
    account = an_account(priority=3, models=["claude-haiku-*"])
    assert sent(account) == ((b"x-api-key", SECRET.encode()),)
    assert account.credential_hint == "sk-ant-…AbCd"
    assert SECRET not in str(UpstreamAccount.objects.values().get())


def test_an_account_may_have_no_credential():
    assert sent(an_account(credential="")) == ()


def test_adding_is_audited_without_the_credential():
    account = an_account()
    event = AuditEvent.objects.get()
    assert (event.action, event.target_id) == ("upstream.add", account.pk)
    assert event.detail["credential"] == "sk-ant-…AbCd"
    assert SECRET not in str(event.detail)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"base_url": "https://a.example/v1"}, "base_url", id="v1"),
        pytest.param({"base_url": "https://me:word@a.example"}, "base_url", id="name and word"),
        pytest.param({"base_url": ""}, "base_url", id="no address"),
        pytest.param({"credential": "two words"}, "credential", id="a space in it"),
        pytest.param({"credential": "a\r\nhost: b"}, "credential", id="a line break in it"),
        pytest.param({"credential": "schlüssel"}, "credential", id="not ASCII"),
        pytest.param({"weight": 0}, "weight", id="no weight"),
        pytest.param({"priority": 1001}, "priority", id="beyond any priority"),
        pytest.param({"auth": "basic"}, "auth", id="no such way"),
        pytest.param({"models": ["claude-opus-4.6"]}, "models", id="no such model"),
        pytest.param({"name": "a,b"}, "name", id="a comma in the name"),
    ],
)
def test_what_cannot_be_used_is_refused(fields, field):
    with pytest.raises(ValidationError) as refusal:
        an_account(**({"name": "first"} | fields))
    assert field in refusal.value.message_dict
    assert not UpstreamAccount.objects.exists()


def test_without_a_key_nothing_is_stored_in_the_clear(settings):
    settings.CREDENTIAL_KEYS = []
    with pytest.raises(ValidationError, match="CLAUDCODE_CREDENTIAL_KEYS is not set"):
        an_account()
    assert not UpstreamAccount.objects.exists()


def test_the_environment_makes_the_first_account_and_no_second(settings):
    settings.ANTHROPIC_API_KEY = SECRET
    first = services.upstream_from_environment()
    assert sent(first) == ((b"x-api-key", SECRET.encode()),)
    assert services.upstream_from_environment() is None
    assert SECRET not in str(UpstreamAccount.objects.values().get())


def test_the_database_holds_one_account_of_the_environment():
    services.upstream_from_environment()
    with pytest.raises(IntegrityError), transaction.atomic():
        UpstreamAccount.objects.create(name="another", credential_source="environment")


# --- Changing -----------------------------------------------------------------------------------


def test_changes_are_audited_and_nothing_else_is():
    account = an_account()
    update(account, priority=10)
    assert AuditEvent.objects.count() == 1
    update(account, priority=5, enabled=False)
    event = AuditEvent.objects.order_by("-id")[0]
    assert event.detail == {"name": "first", "priority": [10, 5], "enabled": [True, False]}


def test_a_credential_is_replaced_and_removed():
    account = an_account()
    update(account, credential=f" {OTHER}\n")
    assert sent(account) == ((b"x-api-key", OTHER.encode()),)
    update(account, credential="")
    assert sent(account) == ()
    trail = str(list(AuditEvent.objects.values()))
    assert "sk-ant-…WxYz" in trail
    assert OTHER not in trail


@pytest.mark.parametrize("url", ["http://upstream.example", "https://elsewhere.example"])
def test_the_credential_does_not_follow_to_another_server(url):
    account = an_account()
    with pytest.raises(ValidationError, match="Give the credential once more"):
        update(account, base_url=url)
    update(account, base_url=url, credential=OTHER)
    assert load_account(UpstreamAccount.objects.get()).base_url == url
    assert sent(account) == ((b"x-api-key", OTHER.encode()),)


def test_another_path_of_the_same_server_keeps_the_credential():
    account = an_account()
    update(account, base_url="https://upstream.example/anthropic/")
    assert load_account(UpstreamAccount.objects.get()).base_url.endswith("/anthropic")
    assert sent(account) == ((b"x-api-key", SECRET.encode()),)


def test_what_the_environment_says_is_not_changed_here():
    account = services.upstream_from_environment()
    for refused in ({"base_url": "https://a.example"}, {"auth": "bearer"}, {"credential": "x"}):
        with pytest.raises(ValidationError):
            update(account, **refused)
    assert update(account, priority=2).priority == 2


def test_enable_and_disable_say_who_did_it():
    account = an_account()
    assert services.upstream_disable(account=account, acting_user=None)
    assert not services.upstream_disable(account=account, acting_user=None)
    assert load_accounts() == ()
    assert services.upstream_enable(account=account, acting_user=None)
    assert len(load_accounts()) == 1


def test_a_deleted_account_takes_its_credential_along():
    services.upstream_delete(account=an_account(), acting_user=None)
    assert not UpstreamAccount.objects.exists()
    assert AuditEvent.objects.filter(action="upstream.delete").count() == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda account: an_account("second"),
        lambda account: update(account, weight=2),
        lambda account: services.upstream_disable(account=account, acting_user=None),
        lambda account: services.upstream_delete(account=account, acting_user=None),
        suspend,
    ],
    ids=["add", "update", "disable", "delete", "suspend"],
)
def test_gateways_hear_of_every_write(write, valkey, django_capture_on_commit_callbacks):
    account = an_account()
    with valkey.pubsub() as channel:
        channel.subscribe("claudcode:policy")
        channel.get_message(timeout=5)
        with django_capture_on_commit_callbacks(execute=True):
            write(account)
        assert channel.get_message(timeout=5)["data"] == b"*"


# --- Suspension ---------------------------------------------------------------------------------


def test_a_suspended_account_is_not_sent_to_until_it_is_resumed():
    account = an_account()
    assert suspend(account)
    assert load_accounts() == ()
    assert services.upstream_resume(account=account, acting_user=None)
    assert not services.upstream_resume(account=account, acting_user=None)
    assert len(load_accounts()) == 1


def test_of_many_gateways_that_see_the_trouble_one_suspends():
    account = an_account()
    assert [suspend(account), suspend(account)] == [True, False]
    assert AuditEvent.objects.filter(action="upstream.suspend").count() == 1


def test_trouble_with_a_credential_that_was_replaced_meanwhile_is_nothing():
    account = an_account()
    seen = load_account(account).fingerprint
    update(account, credential=OTHER)
    assert not suspend(account, fingerprint=seen)
    assert len(load_accounts()) == 1


def test_a_new_credential_lifts_the_suspension():
    account = an_account()
    suspend(account)
    update(account, credential=OTHER)
    assert len(load_accounts()) == 1


def test_the_account_that_is_no_row_cannot_be_suspended(settings):
    settings.ANTHROPIC_API_KEY = SECRET
    (virtual,) = load_accounts()
    assert not services.upstream_suspend(
        account_id=virtual.id, fingerprint=virtual.fingerprint, reason="HTTP 401"
    )


# --- Rotation -----------------------------------------------------------------------------------


def test_rotation_makes_the_old_key_needless_and_may_run_again(settings):
    account, _ = an_account(), an_account("none", credential="")
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode(), *settings.CREDENTIAL_KEYS]
    assert services.credentials_rotate(acting_user=None) == services.Rotation(1, 0, ())
    assert services.credentials_rotate(acting_user=None) == services.Rotation(0, 1, ())
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert sent(account) == ((b"x-api-key", SECRET.encode()),)
    assert AuditEvent.objects.filter(action="upstream.rotate").count() == 1


def test_rotation_names_what_no_key_opens_and_leaves_it_alone(settings):
    an_account("lost")
    before = UpstreamAccount.objects.get().credential
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    an_account("kept")
    assert services.credentials_rotate(acting_user=None) == services.Rotation(0, 1, ("lost",))
    assert UpstreamAccount.objects.get(name="lost").credential == before


# --- Import -------------------------------------------------------------------------------------


def a_candidate(model_id: str) -> Candidate:
    return Candidate(model_id, model_id.title(), None, 500_000, 32_000, guessed=False)


def import_models(*model_ids: str, enabled=()) -> list[ClaudeModel]:
    account = UpstreamAccount.objects.first() or an_account()
    chosen = [a_candidate(model_id) for model_id in model_ids]
    return services.models_import(account=account, chosen=chosen, enabled=enabled, acting_user=None)


def test_imported_models_are_not_on_offer_unless_chosen():
    import_models("claude-a", "claude-b", enabled=["claude-b"])
    rows = ClaudeModel.objects.filter(model_id__in=["claude-a", "claude-b"])
    assert list(rows.values_list("model_id", "enabled")) == [
        ("claude-a", False),
        ("claude-b", True),
    ]
    assert {row.context_window_tokens for row in rows} == {500_000}


def test_what_is_in_the_catalogue_stays_as_it_is():
    before = ClaudeModel.objects.values().get(model_id="claude-haiku-4-5")
    assert import_models("claude-haiku-4-5") == []
    assert ClaudeModel.objects.values().get(model_id="claude-haiku-4-5") == before


def test_an_import_is_audited():
    import_models("claude-a", "claude-b")
    event = AuditEvent.objects.get(action="upstream.import")
    assert event.detail == {"name": "first", "models": ["claude-a", "claude-b"]}


# --- Secrets ------------------------------------------------------------------------------------


def test_no_log_line_holds_a_credential(settings):
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        account = an_account()
        suspend(account)
        settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
        load_accounts()
    finally:
        logging.getLogger().removeHandler(handler)
    assert "upstream account first is left out" in heard.getvalue()
    assert SECRET not in heard.getvalue()
