import datetime as dt
import threading

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from keys import services, windows
from keys.core.access import KeyStatus
from keys.core.limits import AMOUNT_MAX, Unit
from keys.core.secret import digest, well_formed
from keys.inheritance import Holding
from keys.limiter import shard_tag
from keys.models import RATE_MAX, ApiKey, AuditEvent, Budget, ClaudeModel, Maintenance, Team
from keys.policy import budget_limit, holder_shard, load_policy
from tests.factories import (
    a_budget,
    a_key,
    a_key_and_secret,
    a_model,
    a_spec,
    a_team,
    an_operator,
)

pytestmark = pytest.mark.django_db


def last_event() -> AuditEvent:
    return AuditEvent.objects.order_by("-id")[0]


# --- Issuing ------------------------------------------------------------------------------------


def test_an_issued_secret_is_known_by_its_digest_only():
    apikey, secret = a_key_and_secret()
    row = ApiKey.objects.filter(pk=apikey.pk).values().get()
    assert well_formed(secret.text)
    assert row["digest"] == digest(secret.text)
    assert secret.text not in str(row)


def test_two_keys_have_two_secrets():
    assert a_key().digest != a_key().digest


def test_a_key_gets_the_documented_limits():
    apikey = a_key()
    assert (apikey.rpm, apikey.concurrency) == (60, 5)
    assert [str(budget) for budget in apikey.budgets.all()] == ["5,000,000 tokens / 5h"]


def test_issuing_is_audited_without_the_secret():
    operator = an_operator()
    apikey, secret = a_key_and_secret(acting_user=operator, acting_address="192.0.2.7")
    event = last_event()
    assert (event.action, event.target_type, event.target_id) == (
        "apikey.issue",
        "apikey",
        apikey.pk,
    )
    assert (event.actor, event.address) == (operator, "192.0.2.7")
    assert secret.text not in str(event.detail)


def test_a_command_is_audited_by_its_name():
    a_key(acting_user=None)
    assert last_event().actor_name == "manage.py"


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        pytest.param({"name": ""}, "name", id="no name"),
        pytest.param({"name": "x" * 101}, "name", id="a long name"),
        pytest.param({"rpm": -1}, "rpm", id="negative rpm"),
        pytest.param({"rpm": RATE_MAX + 1}, "rpm", id="absurd rpm"),
        pytest.param({"concurrency": -1}, "concurrency", id="negative concurrency"),
        pytest.param({"cidrs": ["10.0.0.1/8"]}, "cidrs", id="host bits set"),
        pytest.param({"cidrs": ["example.com"]}, "cidrs", id="a host name"),
        pytest.param({"models": ["claude opus"]}, "models", id="a model with a space"),
        pytest.param({"models": ["claude-opus-4.6"]}, "models", id="a slip in a model"),
        pytest.param(
            {"expires_at": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}, "expires_at", id="past"
        ),
        pytest.param({"budgets": [a_spec(limit=AMOUNT_MAX + 1)]}, "limit_amount", id="too much"),
        pytest.param({"budgets": [a_spec(window_s=0)]}, "window_s", id="no window"),
        pytest.param({"budgets": [a_spec(), a_spec(limit=5)]}, "__all__", id="two of one window"),
    ],
)
def test_a_bad_value_writes_nothing(fields, complaint):
    with pytest.raises(ValidationError) as raised:
        a_key(**fields)
    assert complaint in raised.value.message_dict
    assert not ApiKey.objects.exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("field", ["rpm", "concurrency"])
@pytest.mark.parametrize("value", [None, 0, 1, RATE_MAX])
def test_limit_values_are_kept(field, value):
    assert getattr(ApiKey.objects.get(pk=a_key(**{field: value}).pk), field) == value


# --- Life ---------------------------------------------------------------------------------------


def test_disable_enable_revoke():
    apikey = a_key()
    services.apikey_disable(apikey=apikey, acting_user=None)
    assert ApiKey.objects.get(pk=apikey.pk).status is KeyStatus.DISABLED
    services.apikey_enable(apikey=apikey, acting_user=None)
    assert ApiKey.objects.get(pk=apikey.pk).status is KeyStatus.ACTIVE
    services.apikey_revoke(apikey=apikey, acting_user=None)
    assert ApiKey.objects.get(pk=apikey.pk).status is KeyStatus.REVOKED


def test_a_revoked_key_cannot_be_enabled():
    apikey = a_key()
    services.apikey_disable(apikey=apikey, acting_user=None)
    services.apikey_revoke(apikey=apikey, acting_user=None)
    assert services.apikey_enable(apikey=apikey, acting_user=None) is False
    assert ApiKey.objects.get(pk=apikey.pk).status is KeyStatus.REVOKED


def test_an_expired_key_shows_it():
    apikey = a_key()
    expiry = {"expires_at": timezone.now()}
    apikey = services.apikey_update(apikey=apikey, changes=expiry, acting_user=None)
    assert apikey.status is KeyStatus.EXPIRED


@pytest.mark.parametrize(
    "move", [services.apikey_disable, services.apikey_revoke], ids=["disable", "revoke"]
)
def test_a_repeated_move_changes_and_audits_nothing(move):
    apikey = a_key()
    assert move(apikey=apikey, acting_user=None) is True
    events = AuditEvent.objects.count()
    assert move(apikey=apikey, acting_user=None) is False
    assert AuditEvent.objects.count() == events


@pytest.mark.django_db(transaction=True)
def test_of_two_who_revoke_at_once_one_is_audited(engines):
    apikey = a_key()
    barrier = threading.Barrier(2)
    outcomes = []

    def revoke() -> None:
        barrier.wait()
        outcomes.append(services.apikey_revoke(apikey=apikey, acting_user=None))
        connection.close()

    threads = [threading.Thread(target=revoke) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(outcomes) == [False, True]
    assert AuditEvent.objects.filter(action="apikey.revoke").count() == 1


# --- Changes ------------------------------------------------------------------------------------


def test_a_change_is_audited_with_before_and_after():
    apikey = a_key()
    changed = services.apikey_update(
        apikey=apikey, changes={"rpm": 0, "concurrency": 5}, acting_user=None
    )
    assert (changed.rpm, changed.concurrency) == (0, 5)
    assert last_event().detail == {"rpm": [60, 0]}


def test_a_change_of_nothing_leaves_no_trace(heard):
    apikey = a_key()
    events = AuditEvent.objects.count()
    change = {"rpm": apikey.rpm, "cidrs": []}
    assert not heard(
        lambda: services.apikey_update(apikey=apikey, changes=change, acting_user=None)
    )
    assert AuditEvent.objects.count() == events


def test_a_key_that_changes_teams_gets_new_scopes():
    apikey = a_key()
    moved = services.apikey_update(apikey=apikey, changes={"team": a_team()}, acting_user=None)
    assert moved.scope_generation == apikey.scope_generation + 1
    renamed = services.apikey_update(apikey=apikey, changes={"name": "x"}, acting_user=None)
    assert renamed.scope_generation == moved.scope_generation


def test_a_key_that_changes_teams_leaves_its_cache_behind():
    apikey = a_key()
    moved = services.apikey_update(apikey=apikey, changes={"team": a_team()}, acting_user=None)
    assert moved.cache_generation == apikey.cache_generation + 1
    renamed = services.apikey_update(apikey=apikey, changes={"name": "x"}, acting_user=None)
    assert renamed.cache_generation == moved.cache_generation


def test_a_model_that_left_the_catalogue_does_not_block_another_change():
    model = a_model(model_id="claude-gone")
    apikey = a_key(models=["claude-gone"])
    model.delete()
    assert services.apikey_update(apikey=apikey, changes={"rpm": 1}, acting_user=None).rpm == 1


def test_a_bad_change_is_refused():
    apikey = a_key()
    with pytest.raises(ValidationError):
        services.apikey_update(apikey=apikey, changes={"cidrs": ["nonsense"]}, acting_user=None)
    assert ApiKey.objects.get(pk=apikey.pk).cidrs == []


# --- Teams --------------------------------------------------------------------------------------


def test_a_team_has_a_name_of_its_own():
    a_team(name="research")
    with pytest.raises(ValidationError):
        a_team(name="research")


@pytest.mark.parametrize("make", [a_team, a_key])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a\r\nBcc: b", id="lines"),
        pytest.param("a\x1b[2J", id="what a terminal obeys"),
        pytest.param("a\N{RIGHT-TO-LEFT OVERRIDE}b", id="what turns a line round"),
    ],
)
def test_a_name_is_one_line_of_plain_text(make, name):
    with pytest.raises(ValidationError, match="line breaks"):
        make(name=name)


def test_a_name_may_be_in_any_script():
    assert a_team(name="研究　β 👩‍🔬 Größe").name == "研究　β 👩‍🔬 Größe"


def test_a_team_with_keys_cannot_be_deleted():
    team = a_team()
    a_key(team=team)
    with pytest.raises(ProtectedError):
        team.delete()


def test_a_team_change_is_audited(heard):
    team = a_team()
    assert heard(
        lambda: services.team_update(team=team, changes={"rpm": 100}, acting_user=None)
    ) == ["*"]
    assert last_event().detail == {"rpm": [None, 100]}
    assert Team.objects.get(pk=team.pk).rpm == 100


@pytest.mark.parametrize("shared", [True, False], ids=["on", "off"])
def test_a_team_that_switches_sharing_starts_with_an_empty_cache(heard, shared):
    team = a_team(cache_shared=not shared)
    changes = {"cache_shared": shared}
    assert heard(lambda: services.team_update(team=team, changes=changes, acting_user=None)) == [
        "*"
    ]
    assert Team.objects.get(pk=team.pk).cache_generation == 1
    services.team_update(team=team, changes={"rpm": 1}, acting_user=None)
    assert Team.objects.get(pk=team.pk).cache_generation == 1


# --- Budgets ------------------------------------------------------------------------------------


def test_a_budget_cannot_become_a_second_of_its_window():
    apikey = a_key(budgets=[a_spec(window_s=60), a_spec(window_s=120)])
    budget = apikey.budgets.last()
    with pytest.raises(ValidationError):
        services.budget_update(budget=budget, spec=a_spec(window_s=60), acting_user=None)
    assert Budget.objects.get(pk=budget.pk).window_s == 120


def test_a_budget_is_changed_and_audited_at_its_key():
    apikey = a_key(budgets=[a_spec(limit=1000)])
    budget = apikey.budgets.get()
    services.budget_update(budget=budget, spec=a_spec(limit=None, strict=True), acting_user=None)
    event = last_event()
    assert (event.action, event.target_id) == ("budget.update", apikey.pk)
    assert event.detail["limit_amount"] == [1000, None]


def test_a_removed_budget_binds_no_longer():
    apikey = a_key()
    budget = apikey.budgets.get()
    services.budget_remove(budget=budget, acting_user=None)
    services.budget_remove(budget=budget, acting_user=None)
    assert not apikey.budgets.exists()
    assert AuditEvent.objects.filter(action="budget.remove").count() == 1


def test_a_reset_empties_the_window_and_keeps_what_is_held(
    valkey, django_capture_on_commit_callbacks
):
    team = a_team()
    apikey = a_key(team=team, budgets=[])
    budget = a_budget(apikey)
    tag = shard_tag(holder_shard(team))
    window = f"{tag}:w:{budget_limit(Holding(apikey, budget)).window_name}"
    valkey.hset(window, mapping={"u": 70, "h": 5, "b9": 70, "lo": 9, "hi": 9})
    with django_capture_on_commit_callbacks(execute=True):
        services.budget_reset(budget=budget, acting_user=None)
    assert valkey.hmget(window, "u", "h", "b9") == [b"0", b"5", None]
    assert last_event().action == "budget.reset"


def test_a_reset_is_of_the_instant_when_the_window_was_emptied(heard, valkey):
    # Not of the commit before: what was charged in between would come back with a cold start.
    apikey = a_key(budgets=[])
    budget = a_budget(apikey)
    limit = budget_limit(Holding(apikey, budget))
    window = f"{shard_tag(holder_shard(apikey))}:w:{limit.window_name}"
    valkey.hset(window, mapping={"u": 70, "h": 0, "b9": 70, "lo": 9, "hi": 9})
    told = heard(lambda: services.budget_reset(budget=budget, acting_user=None))
    emptied_at_ms = int(valkey.hget(window, "r"))
    assert load_policy(apikey.digest).limits[1].reset_at_ms == emptied_at_ms
    assert told == [apikey.digest, apikey.digest]


def test_a_window_that_is_not_loaded_will_be_from_the_reset_on(heard, valkey):
    apikey = a_key(budgets=[])
    budget = a_budget(apikey)
    before, _microseconds = valkey.time()
    assert heard(lambda: services.budget_reset(budget=budget, acting_user=None)) == [apikey.digest]
    assert before * 1000 <= load_policy(apikey.digest).limits[1].reset_at_ms


def test_a_reset_without_valkey_is_stored_and_says_that_it_must_be_repeated(
    settings, django_capture_on_commit_callbacks
):
    budget = a_budget(a_key())
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    with (
        pytest.raises(windows.NotEmptied),
        django_capture_on_commit_callbacks(execute=True),
    ):
        services.budget_reset(budget=budget, acting_user=None)
    assert Budget.objects.get(pk=budget.pk).reset_at is not None


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="nobody's"),
        pytest.param({"unit": "req"}, id="another unit"),
        pytest.param({"window_s": 0}, id="no window"),
    ],
)
def test_the_database_refuses_a_budget_that_makes_no_sense(fields):
    row = {"unit": Unit.TOKENS.value, "window_s": 60, "limit_amount": 1} | fields
    with pytest.raises(DatabaseError), transaction.atomic():
        Budget.objects.create(**row)


def test_the_database_refuses_a_budget_of_two():
    with pytest.raises(DatabaseError), transaction.atomic():
        Budget.objects.create(apikey=a_key(), team=a_team(), unit="tok", window_s=60)


# --- Catalogue and maintenance ------------------------------------------------------------------


def test_a_model_can_be_taken_off_the_list(heard):
    haiku = ClaudeModel.objects.get(model_id="claude-haiku-4-5")
    change = {"enabled": False}
    assert heard(
        lambda: services.claude_model_update(claude_model=haiku, changes=change, acting_user=None)
    ) == ["*"]
    assert last_event().detail == {"model_id": "claude-haiku-4-5", "enabled": [True, False]}


def test_a_model_can_be_added(heard):
    assert heard(lambda: a_model(model_id="claude-next")) == ["*"]
    assert last_event().detail == {"model_id": "claude-next"}


def test_maintenance_keeps_what_it_is_not_told(heard):
    services.maintenance_set(enabled=True, message="Back at noon.", acting_user=None)
    assert heard(lambda: services.maintenance_set(enabled=False, acting_user=None)) == ["*"]
    row = Maintenance.objects.get()
    assert (row.enabled, row.message) == (False, "Back at noon.")


# --- Telling gateways ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda k: services.apikey_revoke(apikey=k, acting_user=None), id="revoke"),
        pytest.param(lambda k: services.apikey_disable(apikey=k, acting_user=None), id="disable"),
        pytest.param(
            lambda k: services.apikey_update(apikey=k, changes={"rpm": 1}, acting_user=None),
            id="a limit",
        ),
        pytest.param(
            lambda k: services.budget_add(holder=k, spec=a_spec(), acting_user=None),
            id="another budget",
        ),
        pytest.param(
            lambda k: services.budget_remove(budget=k.budgets.get(), acting_user=None),
            id="a budget less",
        ),
    ],
)
def test_gateways_hear_of_the_key(heard, change):
    apikey = a_key()
    assert heard(lambda: change(apikey)) == [apikey.digest]


def test_gateways_hear_of_a_team_s_budget(heard):
    team = a_team()
    assert heard(lambda: a_budget(team)) == ["*"]


def test_nothing_is_announced_before_the_commit(valkey, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=False) as callbacks:
        a_key()
    assert len(callbacks) == 1


def test_a_change_outlives_a_lost_valkey(settings, caplog, django_capture_on_commit_callbacks):
    apikey = a_key()
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    with django_capture_on_commit_callbacks(execute=True):
        services.apikey_revoke(apikey=apikey, acting_user=None)
    assert ApiKey.objects.get(pk=apikey.pk).status is KeyStatus.REVOKED
    assert "gateways were not told" in caplog.text


# --- Audit trail --------------------------------------------------------------------------------


def test_an_audit_row_cannot_be_changed():
    a_key()
    with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
        AuditEvent.objects.update(action="nothing")


def test_an_audit_row_cannot_be_deleted():
    a_key()
    with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
        AuditEvent.objects.all().delete()


def test_an_audit_row_outlives_the_account():
    operator = an_operator()
    a_key(acting_user=operator)
    User.objects.filter(pk=operator.pk).delete()
    event = last_event()
    assert (event.actor, event.actor_name) == (None, operator.username)
