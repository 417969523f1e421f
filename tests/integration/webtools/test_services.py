"""The account at Tavily: what is stored, what is shown, what is tried."""

import io

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from keys.models import AuditEvent
from tests.acceptance.simulator_process import SimulatorProcess
from tests.factories import a_key, a_plan, an_operator
from webtools import services
from webtools.models import CreditPrice, TavilyAccount
from webtools.terms import load_terms

SECRET = "tvly-a-secret-that-nobody-may-see-1234"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sealing(settings):
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.TAVILY_API_KEY = settings.TAVILY_STAND_IN_URL = ""


def test_a_credential_is_sealed_and_never_in_the_audit_trail():
    account = services.tavily_set(changes={}, credential=SECRET, acting_user=None)
    assert SECRET not in str(account.credential)
    assert load_terms(a_key().pk).credential.secret == SECRET
    (event,) = AuditEvent.objects.filter(action="tavily.update")
    assert event.detail == {"credential": ["", "…1234"]}


def test_a_credential_is_good_for_one_address_alone(settings):
    services.tavily_set(changes={}, credential=SECRET, acting_user=None)
    settings.TAVILY_BASE_URL = "https://elsewhere.example"
    assert load_terms(a_key().pk).credential is None


def test_a_change_of_nothing_leaves_no_trace():
    services.tavily_set(changes={"enabled": True}, credential="", acting_user=None)
    assert not AuditEvent.objects.filter(action="tavily.update").exists()


def test_a_credential_with_a_space_in_it_is_refused():
    with pytest.raises(ValidationError):
        services.tavily_set(changes={}, credential="tvly a", acting_user=None)


def test_a_key_of_its_own_rule_comes_before_its_plans():
    plan = a_plan()
    apikey = a_key(plan=plan)
    services.tool_rule_set(holder=plan, changes={"enabled": False}, acting_user=None)
    assert not load_terms(apikey.pk).enabled
    services.tool_rule_set(holder=apikey, changes={"calls_per_day": 5}, acting_user=None)
    assert (load_terms(apikey.pk).enabled, load_terms(apikey.pk).calls_per_day) == (True, 5)


def test_web_tools_can_be_off_for_all_but_those_with_a_rule():
    services.tavily_set(changes={"keys_enabled": False}, acting_user=None)
    apikey = a_key()
    assert not load_terms(apikey.pk).enabled
    services.tool_rule_set(holder=apikey, changes={"enabled": True}, acting_user=None)
    assert load_terms(apikey.pk).enabled
    services.tavily_set(changes={"enabled": False}, acting_user=None)
    assert not load_terms(apikey.pk).enabled


def test_the_price_in_force_is_the_latest_that_has_begun():
    terms = load_terms(a_key().pk)
    (price,) = CreditPrice.objects.all()
    start_ms = int(price.starts_at.timestamp() * 1000)
    assert terms.credit_nanousd(start_ms) == terms.credit_nanousd(0) == 8_000_000


def test_rotation_seals_by_the_first_key(settings):
    services.tavily_set(changes={}, credential=SECRET, acting_user=None)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode(), *settings.CREDENTIAL_KEYS]
    assert services.tavily_rotate(acting_user=None) == (1, 0, [])
    assert services.tavily_rotate(acting_user=None) == (0, 1, [])
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert load_terms(a_key().pk).credential.secret == SECRET


def test_the_command_sets_up_and_tests(settings, monkeypatch):
    with SimulatorProcess() as simulator:
        settings.TAVILY_BASE_URL = simulator.url
        monkeypatch.setattr("sys.stdin", io.StringIO(SECRET + "\n"))
        options = ["--credential-stdin", "--credit-usd", "0.005"]
        call_command("tavily_set", *options, stdout=io.StringIO())
        said = io.StringIO()
        call_command("tavily_test", stdout=said)
    assert said.getvalue().strip() == "It works. Used 0 of 1000 credits."
    assert CreditPrice.objects.first().credit_nanousd == 5_000_000


def test_the_test_says_what_is_missing():
    with pytest.raises(CommandError, match="There is no credential"):
        call_command("tavily_test")


def test_the_console_stores_and_tests_a_credential_and_never_shows_it(settings):
    client = Client()
    client.force_login(an_operator())
    page = reverse("admin:webtools_tavilyaccount_change", args=[TavilyAccount.SINGLETON_ID])
    form = {"enabled": "on", "keys_enabled": "on", "new_credential": SECRET, "save_and_test": "1"}
    with SimulatorProcess() as simulator:
        settings.TAVILY_BASE_URL = simulator.url
        answer = client.post(page, form, follow=True)
    assert "It works." in answer.text
    assert SECRET not in answer.text
    assert "…1234" in answer.text


def test_the_console_makes_a_rule_through_the_service():
    client, apikey = Client(), a_key()
    client.force_login(an_operator())
    form = {"apikey": apikey.pk, "calls_per_day": "7"}
    client.post(reverse("admin:webtools_toolrule_add"), form)
    assert (load_terms(apikey.pk).enabled, load_terms(apikey.pk).calls_per_day) == (False, 7)
    assert AuditEvent.objects.filter(action="toolrule.create").count() == 1


def test_the_command_sets_who_may_without_a_rule():
    call_command("tavily_set", "--ruled-keys", stdout=io.StringIO())
    assert not TavilyAccount.objects.get().keys_enabled
    call_command("tavily_set", "--all-keys", stdout=io.StringIO())
    assert TavilyAccount.objects.get().keys_enabled


def test_the_command_corrects_a_price_of_the_same_instant():
    for usd in ("0.007", "0.006"):
        said = ("--credit-usd", usd, "--from", "2031-01-01")
        call_command("tavily_set", *said, stdout=io.StringIO())
    assert CreditPrice.objects.count() == 2
    assert CreditPrice.objects.latest("starts_at").credit_nanousd == 6_000_000


def test_a_command_makes_changes_and_deletes_a_rule(capsys):
    apikey = a_key()
    call_command("toolrule_set", "--key", apikey.prefix, "--calls-per-day", "5", "--always")
    assert "on, 5 calls a day, in every message." in capsys.readouterr().out
    call_command("toolrule_set", "--key", apikey.prefix, "--no-tools", "--calls-per-day", "none")
    assert "off, unlimited calls a day" in capsys.readouterr().out
    assert not load_terms(apikey.pk).enabled
    call_command("toolrule_set", "--key", apikey.prefix, "--delete")
    assert load_terms(apikey.pk).enabled
    actions = AuditEvent.objects.filter(action__startswith="toolrule").values_list("action")
    assert len(actions) == 3


def test_a_command_gives_a_plan_its_rule_and_says_when_there_is_none(capsys):
    plan = a_plan()
    with pytest.raises(CommandError, match="has no rule"):
        call_command("toolrule_set", "--plan", plan.name, "--delete")
    call_command("toolrule_set", "--plan", plan.name, "--no-tools")
    assert not load_terms(a_key(plan=plan).pk).enabled


def test_lists_say_units_and_zones():
    client = Client()
    client.force_login(an_operator())
    services.tool_rule_set(holder=a_plan(), changes={}, acting_user=None)
    rules = client.get(reverse("admin:webtools_toolrule_changelist")).text
    assert "unlimited" in rules
    prices = client.get(reverse("admin:webtools_creditprice_changelist")).text
    assert "2026-01-01 00:00 UTC" in prices
    assert "$0.008" in prices
