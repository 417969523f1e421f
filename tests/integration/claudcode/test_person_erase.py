"""`manage.py person_erase`: nothing says who it was any more, and no sum has moved."""

import json
from io import StringIO

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.db.models import Sum
from django.utils.timezone import now

from keys import audit
from keys.core.access import KeyStatus
from keys.models import ApiKey, AuditEvent
from keys.services import apikey_issue, apikey_update, team_update
from operators.alerts.core.rules import EPOCH, Finding, Kind, Subject
from operators.alerts.raising import alerts_raise
from operators.services import operator_add
from tests.factories import a_key, a_team
from tests.ledger_events import NOON_MS, a_closing, an_opening, append_event
from usage import ledger
from usage.folding import fold_all
from usage.models import DeadLetter, KeyRollup, LedgerEntry, RollupDelta, SessionRollup
from usage.verify import verify

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("valkey")]

HERS, OTHERS = "203.0.113.77", "198.51.100.1"
SESSION = "5e551011-0000-4000-8000-000000000001"
MAIL = "maria.silva@example.com"
AGENT = "claude-cli/2.1.330 (maria's laptop)"
OTHER_AGENT = "curl/8.7"


def run(*words):
    said = StringIO()
    call_command("person_erase", *words, stdout=said)
    return said.getvalue()


def an_exchange(valkey, apikey, address=HERS, session=SESSION, team_id=None):
    opening = an_opening(
        apikey_id=apikey.pk,
        team_id=team_id,
        client_address=address,
        client_agent=AGENT if address == HERS else OTHER_AGENT,
        session_id=session,
        agent_id="maria-agent" if session == SESSION else "",
    )
    append_event(valkey, opening, a_closing(), charged_at_ms=NOON_MS)


@pytest.fixture
def maria(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # In no time.
    operator_add(username="ada", roles=["admin"], acting_user=None)
    user, _ = operator_add(
        username="maria",
        email=MAIL,
        first_name="Maria",
        last_name="Silva",
        roles=["operator"],
        acting_user=None,
    )
    return user


@pytest.fixture
def hers(maria):
    apikey, _ = apikey_issue(name="Maria's laptop", owner=maria, acting_user=maria)
    return apikey


@pytest.fixture
def written(valkey, hers):
    """Exchanges of hers and of somebody else's, in the ledger and all that is derived from it."""
    others = a_key()
    an_exchange(valkey, hers)
    an_exchange(valkey, hers, session="")
    an_exchange(valkey, others, address=OTHERS, session="theirs")
    ledger.drain()
    fold_all()
    return others


def everything():
    """All rows of all tables as text."""
    said = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" AS t')
            said += [row for (row,) in cursor.fetchall()]
    return "\n".join(said)


def sums():
    ends = LedgerEntry.objects.values("apikey_id").order_by("apikey_id")
    kept = KeyRollup.objects.values("grain", "client", "apikey_id").order_by("grain", "apikey_id")
    amounts = {name: Sum(name) for name in ("charged_tokens", "cost_nanousd", "input_tokens")}
    return list(ends.annotate(**amounts)), list(kept.annotate(**amounts))


def test_without_saying_so_nothing_is_changed(written, maria):
    before = everything()
    said = run("--user", MAIL)
    assert "accounts: 1" in said
    assert "ledger entries: 2" in said
    assert "Nothing was changed." in said
    assert everything() == before


def test_nothing_says_who_it_was(written, maria, hers):
    apikey_update(apikey=hers, changes={"rpm": 7}, acting_user=maria, acting_address=HERS)
    audit.record_stranger("sign_in.refuse", maria, HERS, {})
    audit.record("note", None, None, None, {"told": f"{MAIL} asked", "kept": "marianne"})
    found = Finding(Kind.EXPIRING, Subject.APIKEY, hers.pk, hers.name, None, "x", EPOCH, hers.name)
    alerts_raise([found], now())
    about = ContentType.objects.get_for_model(hers)
    LogEntry.objects.create(
        user=User.objects.get(username="ada"),
        content_type=about,
        object_id=hers.pk,
        object_repr=str(hers),
        action_flag=2,
    )
    run("--user", "maria", "--erase")
    kept = everything()
    for word in ("Maria", "Silva", '"maria"', MAIL, HERS, SESSION, "maria-agent", "laptop"):
        assert word not in kept
    assert "marianne" in kept  # Another word.
    assert not User.objects.filter(username="maria").exists()
    assert ApiKey.objects.get(pk=hers.pk).status is KeyStatus.REVOKED


def test_no_sum_moves_and_the_books_agree(written, maria, valkey):
    before = sums()
    run("--user", "maria", "--erase")
    assert sums() == before
    assert (RollupDelta.objects.count(), verify(valkey).differences) == (0, ())
    assert list(SessionRollup.objects.values_list("session_id", flat=True)) == ["theirs"]


def test_what_is_not_theirs_stays(written, maria):
    run("--user", "maria", "--erase")
    entry = LedgerEntry.objects.get(apikey=written)
    assert (entry.client_address, entry.client_agent) == (OTHERS, OTHER_AGENT)
    assert ApiKey.objects.get(pk=written.pk).name == written.name


def test_the_trail_says_that_it_was_done_and_keeps_what_was_done(written, maria, hers):
    before = AuditEvent.objects.count()
    said = run("--user", "maria", "--erase")
    (row,) = AuditEvent.objects.filter(action="person.erase")
    assert row.detail["ledger_entries"] == 2
    assert row.detail["pseudonym"] in said
    issued = AuditEvent.objects.get(action="apikey.issue", target_id=hers.pk)
    assert issued.actor_name == row.detail["pseudonym"]
    assert AuditEvent.objects.count() == before + 3  # Revocation and purge of her key too.


def test_an_address_alone_is_taken_out(written, hers):
    audit.record("note", None, None, HERS, {})
    said = run("--address", HERS, "--erase")
    assert "api keys: 0" in said
    assert HERS not in everything()
    assert ApiKey.objects.get(pk=hers.pk).status is KeyStatus.ACTIVE


def test_an_address_may_be_written_otherwise_than_it_is_kept(written):
    audit.record("note", None, None, "2001:db8::7", {})
    run("--address", "2001:0DB8:0::7", "--erase")
    assert "2001:db8::7" not in everything()


def test_a_session_alone_is_taken_out(written, valkey):
    run("--session", SESSION, "--erase")
    assert SESSION not in everything()
    assert verify(valkey).differences == ()


def test_a_dead_letter_is_emptied_too(written, hers):
    opening = {"apikey_id": hers.pk, "client_address": HERS, "cost_nanousd_estimate": 3}
    fields = {"o": json.dumps(opening)}
    DeadLetter.objects.create(shard=0, stream_id="1-1", fields=fields, error="", found_at=now())
    run("--key", hers.prefix, "--erase")
    (letter,) = DeadLetter.objects.all()
    assert HERS not in letter.fields["o"]
    assert json.loads(letter.fields["o"])["cost_nanousd_estimate"] == 3


def test_it_can_be_run_again_by_the_key(written, maria, hers, valkey):
    run("--user", "maria", "--erase")
    an_exchange(valkey, hers)  # It was in flight.
    said = run("--key", hers.prefix, "--erase")
    assert "ledger entries: 1" in said
    assert SESSION not in everything()


def test_a_team_under_a_legal_hold_keeps_what_it_has(valkey, maria, hers):
    team = a_team()
    an_exchange(valkey, hers, team_id=team.pk)
    ledger.drain()
    team_update(team=team, changes={"legal_hold": "Case 12"}, acting_user=None)
    with pytest.raises(CommandError, match="under a legal hold: Case 12"):
        run("--user", "maria", "--erase")
    assert SESSION in everything()


def test_the_last_who_administers_stays(written, maria):
    with pytest.raises(CommandError, match="Nobody would be left"):
        run("--user", "ada", "--erase")
    assert User.objects.filter(username="ada").exists()


@pytest.mark.parametrize(
    "words", [("--user", "nobody"), ("--key", "sk-cc-none"), ("--address", "maria's"), ()]
)
def test_somebody_has_to_be_known(words):
    with pytest.raises(CommandError, match=r"no account|no API key|no address|Say who"):
        run(*words)


@pytest.mark.parametrize("named", ["", "0", "{row}"], ids=["none", "no row", "another's row"])
def test_the_database_lets_no_other_change_of_the_trail_through(maria, named):
    fields = {"action": "person.erase", "target_type": "user", "target_id": 0}
    row = AuditEvent.objects.create(actor_name="x", detail={"transaction": "1"}, **fields)
    with connection.cursor() as cursor:
        setting = named.format(row=row.pk)
        cursor.execute("SELECT set_config('claudcode.erasing', %s, true)", [setting])
    with pytest.raises(DatabaseError, match="only ever added"):
        AuditEvent.objects.filter(pk=row.pk).update(actor_name="y")


def test_what_was_done_and_when_is_not_to_be_changed_at_all(written, maria):
    run("--user", "maria", "--erase")
    row = AuditEvent.objects.get(action="person.erase")
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('claudcode.erasing', %s, true)", [str(row.pk)])
    with pytest.raises(DatabaseError, match="only ever added"):
        AuditEvent.objects.filter(pk=row.pk).update(action="nothing")
