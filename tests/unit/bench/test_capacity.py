import json

import pytest

from bench.capacity import COLUMNS, Costs, Load, Missing, costs, main, needs, section
from bench.results import Column, Report, Row, Section

COST = Costs(
    exchange_ms=1.0,
    stream_event_ms=0.05,
    valkey_ms=0.5,
    drain_ms=0.03,
    postgres_ms=0.12,
    fold_ms=0.04,
    stream_bytes=40_000,
    window_bytes=1_000,
    event_bytes=1_000,
    log_bytes=2_000,
    row_bytes=600,
    apikey_bytes=1_200,
)


def by_part(load, cost=COST):
    return {row.label: row.values for row in needs(cost, load)}


def test_each_core_is_filled_to_six_tenths():
    load = Load(exchanges=1_000, seconds=10, events=100)
    # 1 ms + 100 events of 0.05 ms: 6 ms of a core each, 6 cores in all, 10 at six tenths.
    needed, one, every = by_part(load)["gateway processes, each a core"]
    assert (needed, one, every) == (pytest.approx(10), pytest.approx(100), None)


def test_what_is_kept_follows_from_how_long_it_is_kept():
    load = Load(exchanges=1_000, seconds=10, keys=1_000_000, active=0.1, mean=0.5, keep_days=10)
    found = {part: values[0] for part, values in by_part(load).items()}
    assert found["memory of their open streams, GB"] == pytest.approx(0.4)
    assert found["memory of Valkey, GB"] == pytest.approx(0.06 + 0.1)
    assert found["ledger rows a day, millions"] == pytest.approx(43.2)
    assert found["ledger of 10 days, TB"] == pytest.approx(0.2592)
    assert found["log that Postgres writes ahead, MB/s"] == pytest.approx(2)
    assert found["keys and budgets in Postgres, GB"] == pytest.approx(1.2)


def test_what_cannot_be_divided_breaks_first_and_is_named():
    fold = "cores of Postgres that fold"
    _needed, one, every = by_part(Load(exchanges=1))[fold]
    assert one == every == pytest.approx(15_000)
    assert fold in section(COST, Load(exchanges=15_001)).remarks[-1]
    assert fold not in section(COST, Load(exchanges=14_999)).remarks[-1]


def test_shards_bound_how_many_primaries_share_the_work():
    _needed, one, every = by_part(Load(exchanges=1))["Valkey primaries, each a core"]
    assert every == pytest.approx(100 * one) == pytest.approx(120_000)


def report(*leave_out):
    def one(case, label, *columns):
        names = tuple(Column(name) for name, _value in columns)
        return Section(case, case, names, (Row(label, tuple(v for _n, v in columns)),))

    sections = [
        one("bodies", "50 KB", ("CPU", 1.0), ("CPU of Valkey", 0.5)),
        one("open-streams", "10,000 streams", ("RSS a stream", 40.0), ("CPU an event", 50.0)),
        Section(
            "drain",
            "drain",
            (Column("CPU of the drain"), Column("CPU of Postgres"), Column("its log")),
            (
                Row("one process", (0.03, 0.12, 2_000.0)),
                Row("its fold alone", (0.0, 0.04, 500.0)),
            ),
        ),
        Section(
            "footprint",
            "footprint",
            (Column("bytes each"),),
            (
                Row("key in use, 1 busy bucket a window", (1_000.0,)),
                Row("ledger event", (1_000.0,)),
                Row("ledger row", (600.0,)),
                Row("API key", (800.0,)),
                Row("budget", (200.0,)),
            ),
        ),
    ]
    kept = [section for section in sections if section.case not in leave_out]
    return Report("2026-11-23", {}, "full", kept)


def test_costs_are_read_off_a_report():
    assert costs(report()) == COST


def test_a_figure_that_was_not_measured_is_named_with_the_command_that_measures_it():
    with pytest.raises(Missing, match="python -m bench --case drain"):
        costs(report("drain"))


def test_the_command_prints_the_table(tmp_path, capsys):
    file = tmp_path / "last.json"
    file.write_text(json.dumps(report().as_json()))
    assert main(["--from", str(file), "--exchanges", "100000", "--keys", "10000000"]) == 0
    printed = capsys.readouterr().out
    assert "100,000 exchanges/s" in printed
    assert "Cannot carry this load in one installation" in printed
    assert all(column.name in printed for column in COLUMNS)


def test_without_a_report_the_command_says_so(tmp_path, capsys):
    assert main(["--from", str(tmp_path / "none.json"), "--exchanges", "1"]) == 1
    assert "none.json" in capsys.readouterr().err
