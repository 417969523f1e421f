import pytest
from cryptography.fernet import Fernet

from proxy import credentials
from proxy.accounts import load_accounts
from proxy.core.account import ENVIRONMENT_ID
from proxy.models import Source, UpstreamAccount

pytestmark = pytest.mark.django_db

SECRET = "sk-ant-api03-this-is-a-secret-AbCd"


@pytest.fixture(autouse=True)
def silent_environment(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.ANTHROPIC_API_KEY = settings.ANTHROPIC_AUTH_TOKEN = ""
    settings.ANTHROPIC_BASE_URL = "https://api.anthropic.com"


def a_row(name: str = "first", **fields) -> UpstreamAccount:
    given = {"base_url": "https://upstream.example"} | fields
    if given.get("credential"):
        given["credential"] = credentials.seal(given["credential"], given["base_url"])
    return UpstreamAccount.objects.create(name=name, **given)


def an_environment_row(**fields) -> UpstreamAccount:
    return a_row("default", base_url="", credential_source=Source.ENVIRONMENT, **fields)


def names() -> list[str]:
    return [account.name for account in load_accounts()]


# --- The environment's account ------------------------------------------------------------------


def test_without_rows_the_environment_is_the_account(settings):
    settings.ANTHROPIC_API_KEY = SECRET
    (account,) = load_accounts()
    assert (account.id, account.name) == (ENVIRONMENT_ID, "default")
    assert account.headers == ((b"x-api-key", SECRET.encode()),)


def test_a_token_is_sent_as_bearer(settings):
    settings.ANTHROPIC_AUTH_TOKEN = SECRET
    (account,) = load_accounts()
    assert account.headers == ((b"authorization", b"Bearer " + SECRET.encode()),)


def test_an_address_of_ones_own_needs_no_credential(settings):
    settings.ANTHROPIC_BASE_URL = "http://proxy.internal/"
    (account,) = load_accounts()
    assert (account.base_url, account.headers) == ("http://proxy.internal", ())


def test_anthropic_without_a_credential_is_no_account():
    assert load_accounts() == ()


def test_the_row_of_the_environment_follows_the_environment(settings):
    an_environment_row(priority=3)
    settings.ANTHROPIC_API_KEY = "one"
    (before,) = load_accounts()
    settings.ANTHROPIC_API_KEY = "two"
    (after,) = load_accounts()
    assert (before.priority, after.headers) == (3, ((b"x-api-key", b"two"),))
    assert before.fingerprint != after.fingerprint


def test_rows_stand_in_place_of_the_environment(settings):
    settings.ANTHROPIC_API_KEY = SECRET
    a_row("first")
    assert names() == ["first"]


@pytest.mark.parametrize("other", [{}, {"credential": "unreadable"}], ids=["good", "unreadable"])
def test_made_up_answers_never_mix_with_real_ones(settings, other):
    settings.ANTHROPIC_BASE_URL, settings.UPSTREAM_SIMULATED = "http://127.0.0.1:1", True
    an_environment_row()
    row = a_row("real", credential=SECRET)
    UpstreamAccount.objects.filter(pk=row.pk).update(**other)
    assert "default" not in names()


def test_the_simulator_answers_while_no_other_account_is_enabled(settings):
    settings.ANTHROPIC_BASE_URL, settings.UPSTREAM_SIMULATED = "http://127.0.0.1:1", True
    an_environment_row()
    a_row("real", enabled=False)
    assert names() == ["default"]


def test_a_silent_environment_is_no_fault_beside_other_accounts(caplog):
    an_environment_row()
    a_row("real")
    assert names() == ["real"]
    assert caplog.text == ""


# --- Rows ---------------------------------------------------------------------------------------


def test_an_account_has_all_that_its_row_says():
    row = a_row(
        credential=SECRET,
        auth="bearer",
        priority=2,
        weight=3,
        concurrency=4,
        rpm=0,
        models=["claude-haiku-*"],
    )
    (account,) = load_accounts()
    assert (account.id, account.base_url) == (row.pk, "https://upstream.example")
    assert account.headers == ((b"authorization", b"Bearer " + SECRET.encode()),)
    assert (account.priority, account.weight) == (2, 3)
    assert (account.concurrency, account.rpm) == (4, 0)
    assert account.models == ("claude-haiku-*",)


def test_accounts_come_by_priority(django_assert_num_queries):
    a_row("last", priority=20)
    a_row("b", priority=1)
    a_row("a", priority=1)
    with django_assert_num_queries(1):
        assert names() == ["a", "b", "last"]


def test_disabled_accounts_are_left_out():
    a_row("first", enabled=False)
    assert load_accounts() == ()


def test_a_suspension_holds_for_the_credential_it_was_seen_with(settings):
    an_environment_row()
    settings.ANTHROPIC_API_KEY = "one"
    (account,) = load_accounts()
    UpstreamAccount.objects.update(
        suspended_at="2027-01-01T00:00Z", suspended_fingerprint=account.fingerprint
    )
    assert load_accounts() == ()
    settings.ANTHROPIC_API_KEY = "two"
    assert names() == ["default"]


def test_a_credential_nobody_can_open_leaves_the_others_in_use(settings, caplog):
    a_row("lost", credential=SECRET)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    a_row("kept", credential=SECRET)
    assert names() == ["kept"]
    assert "upstream account lost is left out: No key of CLAUDCODE_CREDENTIAL_KEYS" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("keys", [[], None], ids=["no key", "another key"])
def test_nothing_crashes_without_the_key(settings, keys, caplog):
    a_row("lost", credential=SECRET)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()] if keys is None else keys
    assert load_accounts() == ()


def test_an_address_changed_behind_our_back_gets_no_credential(caplog):
    a_row("first", credential=SECRET)
    UpstreamAccount.objects.update(base_url="https://elsewhere.example")
    assert load_accounts() == ()
    assert "stored for https://upstream.example:443" in caplog.text


# --- Sealing ------------------------------------------------------------------------------------


def test_what_is_stored_does_not_hold_the_credential():
    assert SECRET not in credentials.seal(SECRET, "https://upstream.example")


def test_any_key_opens_and_the_first_seals(settings):
    (old,) = settings.CREDENTIAL_KEYS
    sealed = credentials.seal(SECRET, "https://a.example")
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode(), old]
    moved = credentials.reseal(sealed)
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert credentials.unseal(moved, "https://a.example") == SECRET
    assert credentials.reseal(moved) == moved
    with pytest.raises(credentials.CredentialUnreadable):
        credentials.unseal(sealed, "https://a.example")


def test_nothing_is_sealed_without_a_key(settings):
    settings.CREDENTIAL_KEYS = []
    with pytest.raises(credentials.NoCredentialKey):
        credentials.seal(SECRET, "https://a.example")
