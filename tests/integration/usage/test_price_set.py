from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from keys.models import AuditEvent
from tests.factories import a_model
from usage.models import Price

pytestmark = pytest.mark.django_db

WHEN = ("--from", "2031-01-01")
RATES = ("--input", "3", "--output", "15", "--cache-write", "3.75", "--cache-write-1h", "6")
RATES += ("--cache-read", "0.3")


@pytest.fixture(autouse=True)
def model():
    return a_model(model_id="claude-test-1")


def run(*words) -> str:
    said = StringIO()
    call_command("price_set", "claude-test-1", *words, stdout=said)
    return said.getvalue()


def test_a_price_is_typed_in_dollars_a_million_and_kept_in_nanodollars_a_token():
    run(*WHEN, *RATES, "--search", "10")
    price = Price.objects.get(model_id="claude-test-1")
    assert (price.input_nanousd, price.cache_creation_nanousd) == (3_000, 3_750)
    assert (price.cache_read_nanousd, price.web_search_nanousd) == (300, 10_000_000)
    assert (price.us_percent, f"{price.starts_at:%Y-%m-%d}") == (100, "2031-01-01")


def test_the_price_of_an_instant_is_changed_in_what_is_given():
    run(*WHEN, *RATES)
    run(*WHEN, "--output", "20")
    price = Price.objects.get(model_id="claude-test-1")
    assert (price.input_nanousd, price.output_nanousd) == (3_000, 20_000)
    trail = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(trail) == ["model.create", "price.create", "price.update"]


def test_another_instant_or_band_is_another_price():
    run(*WHEN, *RATES)
    run(*WHEN, *RATES, "--band", "200000")
    run("--from", "2032-01-01", *RATES)
    assert Price.objects.filter(model_id="claude-test-1").count() == 3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param([*WHEN, "--input", "3"], "needs --output, --cache-write", id="half a price"),
        pytest.param([*WHEN, *RATES, "--input", "0.0001"], "finer than one", id="too fine"),
        pytest.param([*WHEN, *RATES, "--input", "10001"], "not between", id="too dear"),
        pytest.param([*WHEN, *RATES, "--input", "NaN"], "no amount|not between", id="no number"),
        pytest.param([*WHEN, *RATES, "--us-percent", "0"], "us_percent", id="no factor"),
    ],
)
def test_what_is_no_price_is_said(words, complaint):
    with pytest.raises(CommandError, match=complaint):
        run(*words)
    assert not Price.objects.filter(model_id="claude-test-1").exists()
