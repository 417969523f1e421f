"""Each setting that can be wrong has a check with an id and a hint."""

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from claudcode import checks
from proxy.services import upstream_add


def ids() -> list[str]:
    return [finding.id for finding in checks.check_settings()]


def test_the_defaults_are_right():
    assert ids() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"SECRET_KEY": ""}, "E001"),
        ({"SECRET_KEY": "short"}, "E002"),
        ({"DATABASE_URL": "mysql://db/x"}, "E003"),
        ({"VALKEY_URL": "http://valkey"}, "E004"),
        ({"ALLOWED_HOSTS": ["https://claude.example.com/"]}, "E005"),
        ({"CSRF_TRUSTED_ORIGINS": ["claude.example.com"]}, "E006"),
        ({"PUBLIC_URL": "claude.example.com"}, "E007"),
        ({"TRUSTED_PROXIES": ["10.0.0.0/8", "proxy"]}, "E008"),
        ({"LOG_LEVEL": "LOUD"}, "E009"),
        ({"ANTHROPIC_BASE_URL": "api.anthropic.com"}, "E010"),
        ({"ANTHROPIC_API_KEY": "a", "ANTHROPIC_AUTH_TOKEN": "b"}, "E011"),
        ({"ANTHROPIC_API_KEY": "a\nb"}, "E012"),
        ({"LEASE_RENEW_S": 40}, "E013"),
        ({"BODY_BYTES_MAX": 2048, "BODIES_BYTES_MAX": 1024}, "E014"),
        ({"CREDENTIAL_KEYS": ["x" * 44]}, "E015"),
        ({"LEDGER_KEEP_DAYS": 31}, "E048"),
        ({"DEBUG": True, "PUBLIC_URL": "http://claude.example.com"}, "W001"),
        ({"TRACES_ENDPOINT": "collector:4317"}, "E083"),
        ({"CLIENT_ADDRESSES": "some"}, "E084"),
        ({"PUBLIC_URL": "https://claude.example.com"}, "W002"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_wrong_value_has_its_id(settings, changed, expected):
    for name, value in changed.items():
        setattr(settings, name, value)
    assert ids() == [f"claudcode.{expected}"]


@pytest.mark.parametrize(("number", "name", "least", "most", "hint"), checks.RANGES)
def test_numbers_have_bounds(settings, number, name, least, most, hint):
    assert least <= getattr(settings, name) <= most
    setattr(settings, name, most + 1)
    assert f"claudcode.{number}" in ids()


def test_the_gateway_refuses_to_start_with_a_wrong_setting(settings):
    settings.PING_AFTER_S = 0
    with pytest.raises(ImproperlyConfigured, match="CLAUDCODE_PING_AFTER_S is 0"):
        checks.refuse_wrong_settings()


@pytest.mark.django_db
@pytest.mark.usefixtures("valkey")
def test_credentials_that_no_key_opens_are_named(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    for name, enabled in (("lost", True), ("old", False)):
        upstream_add(
            name=name,
            base_url="https://a.example",
            credential="sk-ant-secret",
            enabled=enabled,
            acting_user=None,
        )
    assert checks.check_credentials(databases=["default"]) == []
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    (finding,) = checks.check_credentials(databases=["default"])
    assert finding.id == "claudcode.E016"
    assert finding.msg.endswith("opens the credential of: lost.")


@pytest.mark.django_db
def test_a_key_that_is_none_is_said_once(settings):
    settings.CREDENTIAL_KEYS = ["no key"]
    assert checks.check_credentials(databases=["default"]) == []
    assert ids() == ["claudcode.E015"]


@pytest.mark.django_db
def test_what_is_stored_is_looked_at_when_a_database_is_named_alone():
    assert checks.check_credentials() == []
