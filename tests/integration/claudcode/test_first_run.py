"""What a first start makes, and when it asks the simulator to stand in."""

import pytest

from claudcode.first_run import first_upstream
from proxy import services
from proxy.models import UpstreamAccount

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]


@pytest.fixture(autouse=True)
def silent_environment(settings):
    settings.ANTHROPIC_API_KEY = settings.ANTHROPIC_AUTH_TOKEN = ""
    settings.ANTHROPIC_BASE_URL = "https://api.anthropic.com"


def an_account(**fields) -> UpstreamAccount:
    return services.upstream_add(
        name="real", base_url="https://upstream.example", acting_user=None, **fields
    )


def test_with_nothing_set_the_simulator_stands_in():
    assert first_upstream().simulated


def test_the_first_account_is_the_environments_and_is_made_once(settings):
    settings.ANTHROPIC_API_KEY = "sk-ant-api03-this-is-a-secret-AbCd"
    first_upstream()
    found = first_upstream()
    assert found.lines == ("default: https://api.anthropic.com, sk-ant-…AbCd, of the environment",)
    assert UpstreamAccount.objects.count() == 1


def test_an_address_of_ones_own_is_no_cause_for_the_simulator(settings):
    settings.ANTHROPIC_BASE_URL = "http://proxy.internal"
    found = first_upstream()
    assert not found.simulated
    assert found.lines == ("default: http://proxy.internal, no credential is sent",)


def test_an_account_of_the_admin_is_no_cause_for_the_simulator_either():
    first_upstream()
    an_account()
    found = first_upstream()
    assert not found.simulated
    assert found.lines == ("real: https://upstream.example, no credential is sent",)


def test_a_disabled_one_is():
    first_upstream()
    an_account(enabled=False)
    assert first_upstream().simulated


def test_who_disabled_everything_gets_no_made_up_answers():
    first_upstream()
    UpstreamAccount.objects.update(enabled=False)
    found = first_upstream()
    assert (found.lines, found.simulated) == ((), False)
