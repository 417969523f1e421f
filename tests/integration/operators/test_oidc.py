"""Single sign-on against a provider that listens: whom it lets into the console, and whom not."""

import io
import time
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import User
from django.core.management import call_command
from django.urls import reverse

from keys.models import AuditEvent
from operators import services
from operators.models import ExternalIdentity
from operators.oidc import configuration, flow
from operators.oidc import provider as calls
from operators.oidc.accounts import same_address
from operators.roles import roles_of
from tests.integration.operators import provider as openid
from tests.integration.operators.conftest import ADDRESS

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

BEGIN = reverse("operators:oidc_begin")
CALLBACK = reverse("operators:oidc_callback")
HOME = reverse("admin:index")


@pytest.fixture
def provider(settings):
    with openid.running() as running:
        settings.OIDC_ISSUER = running.issuer
        settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = (
            openid.CLIENT_ID,
            openid.CLIENT_SECRET,
        )
        settings.PUBLIC_URL = "http://testserver"
        yield running


@pytest.fixture
def invited(db) -> User:
    """An account that an admin made with an address."""
    user, _ = services.operator_add(
        username="ada", email="Ada@example.com", roles=["operator"], acting_user=None
    )
    return user


@pytest.fixture
def go(provider, visitor):
    """Go to the provider and come back; `brought` replaces what the browser brings."""

    def through(wanted="", **brought):
        there = visitor.get(BEGIN, {"next": wanted})
        return visitor.get(CALLBACK, provider.approve(there["Location"]) | brought)

    return through


def signed_in(visitor) -> bool:
    return "_auth_user_id" in visitor.session


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("id").values_list("action", flat=True))


# --- Let in -------------------------------------------------------------------------------------


def test_an_invited_person_is_linked_and_let_in(go, visitor, invited, provider):
    answer = go()
    assert (answer.status_code, answer["Location"]) == (302, HOME)
    assert visitor.get(HOME).status_code == 200
    link = ExternalIdentity.objects.get()
    assert (link.user, link.issuer, link.subject) == (invited, provider.issuer, "ada-1")
    assert actions()[-2:] == ["identity.link", "sign_in"]
    invited.refresh_from_db()
    assert not invited.has_usable_password()


def test_what_is_asked_of_the_provider(visitor, provider):
    asked = parse_qs(urlsplit(visitor.get(BEGIN)["Location"]).query)
    assert asked["redirect_uri"] == ["http://testserver/admin/oidc/callback/"]
    assert asked["code_challenge_method"] == ["S256"]
    assert openid.CLIENT_SECRET not in str(asked)


def test_a_linked_person_needs_no_address(go, visitor, invited, provider):
    go()
    visitor.logout()
    provider.claims = {"email": "other@example.com", "email_verified": False}
    assert go().status_code == 302


def test_the_address_alone_opens_nothing_of_a_linked_account(go, visitor, invited, provider):
    go()
    visitor.logout()
    provider.claims = {"sub": "mallory"}
    assert go().status_code == 403
    assert not signed_in(visitor)


def test_the_session_is_another(go, visitor, invited):
    visitor.session.save()
    before = visitor.session.session_key
    go()
    assert visitor.session.session_key != before


def test_the_page_that_was_wanted_opens(go, invited):
    assert go("/admin/keys/apikey/")["Location"] == "/admin/keys/apikey/"


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "javascript:a"])
def test_nobody_is_sent_to_another_site(go, invited, wanted):
    assert go(wanted)["Location"] == HOME


def test_keys_that_were_rotated_are_read_again(go, visitor, invited, provider, monkeypatch):
    go()
    visitor.logout()
    provider.published = [openid.public("two")]
    provider.signed = {**provider.signed, "key": openid.a_key("two"), "headers": {"kid": "two"}}
    assert go().status_code == 403  # Read a moment ago.
    assert provider.asked.count("/keys") == 1
    monkeypatch.setattr(calls, "READ_AGAIN_AFTER_S", 0)
    assert go().status_code == 302


# --- Tokens that are not believed ---------------------------------------------------------------

PUBLIC_PEM = (
    openid.a_key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"nonce": "another"}, id="nonce"),
        pytest.param({"aud": "another"}, id="audience"),
        pytest.param({"aud": ["claudcode", "another"]}, id="two audiences"),
        pytest.param({"azp": "another"}, id="authorized party"),
        pytest.param({"iss": "https://another.example"}, id="issuer"),
        pytest.param({"exp": int(time.time()) - 120}, id="expired"),
        pytest.param({"iat": int(time.time()) + 3600}, id="of the future"),
        pytest.param({"sub": ""}, id="nobody"),
    ],
)
def test_a_wrong_claim_is_refused(go, visitor, invited, provider, claims):
    provider.claims = claims
    assert go().status_code == 403
    assert not signed_in(visitor)
    assert actions()[-1] == "sign_in.refuse"


def test_a_token_without_a_signature_is_refused(go, visitor, invited, provider):
    provider.signed = {"key": None, "algorithm": "none", "headers": {"kid": "one"}}
    assert go().status_code == 403
    assert not signed_in(visitor)


def test_the_public_key_is_no_secret(go, visitor, invited, provider, monkeypatch):
    hmac = jwt.algorithms.HMACAlgorithm
    # PyJWT would not make such a token; an attacker would.
    monkeypatch.setattr(hmac, "prepare_key", lambda _self, key: key)
    provider.signed = {"key": PUBLIC_PEM, "algorithm": "HS256", "headers": {"kid": "one"}}
    assert go().status_code == 403
    assert not signed_in(visitor)


def test_another_key_under_a_known_name_is_refused(go, visitor, invited, provider):
    provider.signed = {**provider.signed, "key": openid.a_key("two")}
    assert go().status_code == 403
    assert not signed_in(visitor)


# --- Returns that are not ours ------------------------------------------------------------------


def test_a_wrong_state_is_refused(go, visitor, invited, provider):
    assert go(state="another").status_code == 403
    assert not signed_in(visitor)


def test_another_browsers_return_signs_nobody_in(visitor, invited, provider, client):
    there = client.get(BEGIN)
    answer = visitor.get(CALLBACK, provider.approve(there["Location"]))
    assert answer.status_code == 400
    assert not signed_in(visitor)
    assert "sign_in.refuse" not in actions()


def test_a_code_is_good_once(visitor, invited, provider):
    brought = provider.approve(visitor.get(BEGIN)["Location"])
    kept = visitor.cookies[flow._name()].value
    assert visitor.get(CALLBACK, brought).status_code == 302
    visitor.logout()
    assert visitor.get(CALLBACK, brought).status_code == 400
    visitor.cookies[flow._name()] = kept
    assert visitor.get(CALLBACK, brought).status_code == 403
    assert not signed_in(visitor)


def test_failures_make_the_address_wait(go, visitor, invited, settings):
    settings.AXES_FAILURE_LIMIT = 2
    go(state="another")
    go(state="another")
    assert visitor.get(BEGIN).status_code == 429
    assert AuditEvent.objects.filter(action="sign_in.lock", address=ADDRESS).exists()


# --- People -------------------------------------------------------------------------------------


def test_an_unverified_address_links_nothing(go, invited, provider):
    provider.claims = {"email_verified": False}
    assert go().status_code == 403
    assert not ExternalIdentity.objects.exists()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param("a@example.com", "A@Example.com", True, id="written in capitals"),
        pytest.param("ä@example.com", "ä@example.com", True, id="another script"),
        pytest.param("mike@example.com", "m\N{LATIN SMALL LETTER DOTLESS I}ke@example.com", False),
        pytest.param("mike@example.com", "mi\N{KELVIN SIGN}e@example.com", False),
    ],
)
def test_addresses_that_only_look_alike_are_two(one, other, same):
    assert same_address(one, other) is same


def test_a_closed_account_stays_closed(go, visitor, invited):
    go()
    visitor.logout()
    User.objects.update(is_active=False)
    assert go().status_code == 403
    assert not signed_in(visitor)


def test_a_stranger_gets_no_account(go, provider, settings):
    assert go().status_code == 403
    settings.OIDC_ROLES, settings.OIDC_CREATE = ["staff=viewer"], True
    assert go().status_code == 403
    assert not User.objects.exists()


def test_an_account_is_made_when_that_is_allowed(go, visitor, provider, settings):
    settings.OIDC_ROLES, settings.OIDC_CREATE = ["sre=operator", "boss=admin"], True
    assert go().status_code == 302
    user = User.objects.get()
    assert (user.username, roles_of(user)) == ("ada@example.com", ["operator"])
    assert not user.has_usable_password()


def test_roles_follow_groups(go, visitor, invited, provider, settings):
    settings.OIDC_ROLES = ["sre=operator", "boss=admin"]
    provider.claims = {"groups": ["sre", "boss"]}
    go()
    assert roles_of(invited) == ["admin", "operator"]
    visitor.logout()
    provider.claims = {"groups": ["sre"]}
    go()
    assert roles_of(invited) == ["operator"]


def test_without_a_group_nobody_enters_and_the_roles_are_gone(go, visitor, invited, settings):
    settings.OIDC_ROLES = ["sre=operator"]
    go()
    visitor.logout()
    settings.OIDC_ROLES = ["boss=admin"]
    assert go().status_code == 403
    invited.refresh_from_db()
    assert (roles_of(invited), invited.is_staff) == ([], False)


@pytest.mark.parametrize(("domain", "status"), [("example.com", 302), ("example.org", 403)])
def test_domains_are_those_allowed(go, invited, settings, domain, status):
    settings.OIDC_DOMAINS = [domain]
    assert go().status_code == status


@pytest.mark.parametrize(("methods", "status"), [(["pwd"], 302), (["pwd", "mfa"], 200)])
def test_the_second_factor_is_ours_unless_the_provider_vouches(
    go, visitor, invited, provider, settings, methods, status
):
    settings.REQUIRE_2FA, settings.OIDC_SECOND_FACTOR = True, ["mfa"]
    provider.claims = {"amr": methods}
    go()
    assert visitor.get(HOME).status_code == status


def test_a_link_is_forgotten_by_a_command(go, visitor, invited, provider):
    go()
    visitor.logout()
    call_command("operator_rescue", "ada", "--single-sign-on", stderr=io.StringIO())
    provider.claims = {"sub": "ada-2"}
    assert go().status_code == 302
    assert "identity.unlink" in actions()


# --- The provider, and the settings -------------------------------------------------------------


def test_an_answer_without_end_is_not_read(visitor, provider):
    provider.huge = True
    assert visitor.get(BEGIN).status_code == 503


def test_an_answer_that_trickles_is_left(visitor, provider, monkeypatch):
    monkeypatch.setattr(calls, "SECONDS_MAX", 0.5)
    provider.trickles = True
    assert visitor.get(BEGIN).status_code == 503


def test_a_provider_that_is_away_is_said_to_be(visitor, provider, settings, caplog):
    settings.OIDC_ISSUER = "http://127.0.0.1:9"
    assert visitor.get(BEGIN).status_code == 503
    assert openid.CLIENT_SECRET not in caplog.text


@pytest.mark.parametrize(
    "described",
    [{"issuer": "https://another.example"}, {"token_endpoint": "http://192.0.2.1/token"}],
    ids=["issuer", "plain http"],
)
def test_a_wrong_description_is_not_used(visitor, provider, described):
    provider.described = described
    assert visitor.get(BEGIN).status_code == 503


def test_the_button_is_there_only_when_configured(visitor, provider, settings):
    page = visitor.get(reverse("admin:login"), {"next": "/admin/keys/"}).content.decode()
    assert f'href="{BEGIN}?next=%2Fadmin%2Fkeys%2F"' in page
    settings.OIDC_ISSUER = ""
    assert BEGIN not in visitor.get(reverse("admin:login")).content.decode()
    assert visitor.get(BEGIN).status_code == 404
    assert visitor.get(CALLBACK).status_code == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"OIDC_ISSUER": ""},
        {"OIDC_ISSUER": "http://login.example.com"},
        {"OIDC_CLIENT_SECRET": ""},
        {"PUBLIC_URL": ""},
        {"OIDC_ROLES": ["sre=king"]},
        {"OIDC_CREATE": True},
    ],
    ids=str,
)
def test_half_a_configuration_is_an_error(provider, settings, changed):
    assert not list(configuration.faults())
    for name, value in changed.items():
        setattr(settings, name, value)
    assert list(configuration.faults())
