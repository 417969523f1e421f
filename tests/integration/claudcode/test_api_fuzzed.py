"""Schemathesis asks the management API what its description allows, and what it forbids.

Each operation by itself, on rows that exist, against the real Postgres and Valkey: first every
bound of the description from both sides, then some of everything at random. Not held to the rule
that whatever fits the description is accepted: which models are on offer, or that a key is not
born expired, no JSON Schema can say.
"""

from copy import deepcopy
from itertools import islice

import pytest
import schemathesis
from cryptography.fernet import Fernet
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from keys.api.idempotency import HEADER
from tests.factories import a_model
from tests.management import ApiClient
from tests.operations import DESCRIPTION, OPERATIONS, rows_for

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

# Enough for the slips that descriptions have, and less than a minute for all of them.
EXAMPLES = 4
CASES_MAX = {GenerationMode.POSITIVE: 10, GenerationMode.NEGATIVE: 80}

BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
MODES = list(GenerationMode)
# These call other servers.
CALLS = {
    "upstreams_test",
    "upstreams_import_models",
    "alert_targets_test",
    "webtools_tavily_test",
}
FUZZED = sorted(OPERATIONS.keys() - CALLS)


def _without_tokens(description):
    # What is asked without a token is refused before it is looked at; another test sees to it.
    spared = deepcopy(description)
    for item in spared["paths"].values():
        for operation in item.values():
            del operation["security"]
    return spared


SCHEMA = schemathesis.openapi.from_dict(_without_tokens(DESCRIPTION))
SCHEMA.app = get_wsgi_application()


@pytest.fixture(autouse=True)
def _one_connection():
    """What a test wrote is seen on its own connection alone, so no request may end it."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def ask(settings):
    """Sends a case with a token that may do everything, and holds the answer to the rules."""
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    settings.MANAGEMENT_RPM = 10**6
    headers = {"Authorization": f"Bearer {ApiClient().secret}"}

    def run(case) -> None:
        case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])

    return run


@pytest.mark.parametrize("name", FUZZED)
def test_an_operation_keeps_to_the_bounds_of_its_description(name, ask):
    rows, operation = rows_for(name), SCHEMA.find_operation_by_id(name)
    a_model(model_id="0")  # What schemathesis calls everything, so that a price can be of it.
    for case in (case for mode in MODES for case in _at_the_bounds(operation, mode)):
        case.path_parameters = {name: rows.get(name, 1) for name in case.path_parameters or {}}
        case.headers.pop(HEADER, None)  # It is always the same, and would make repeats of all.
        ask(case)


def _at_the_bounds(operation, mode):
    config = SCHEMA.config.generation_for(operation=operation)
    cases = SCHEMA.iter_coverage_cases(operation, generation_modes=[mode], generation_config=config)
    told = (case for case in cases if case.meta.phase.data.parameter not in {HEADER, "id"})
    return islice(told, CASES_MAX[mode])


@pytest.mark.parametrize("name", FUZZED)
def test_an_operation_keeps_to_its_description(name, ask):
    rows, operation = rows_for(name), SCHEMA.find_operation_by_id(name)
    cases = [operation.as_strategy(mode, path_parameters=rows) for mode in MODES]
    BOUNDED(given(st.one_of(cases))(ask))()
