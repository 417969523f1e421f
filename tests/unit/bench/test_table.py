import pytest

from bench.results import Column, Report, Row, Section, Target, errors_remark, from_json
from bench.table import render, render_section

SECTION = Section(
    "bodies",
    "by size",
    (Column("CPU", "ms", 3), Column("exchanges", "1/s", 0)),
    (Row("1 KB", (0.4512, 2104.7), Target(0.45)), Row("800 KB", (None, 12.0))),
    ("A remark.",),
)


def test_a_section_is_an_aligned_table_with_targets_and_remarks():
    assert render_section(SECTION) == "\n".join(
        [
            "bodies: by size",
            "           CPU, ms   exchanges, 1/s   target",
            "  1 KB       0.451            2,105   < 0.45",
            "  800 KB         –               12",
            "  A remark.",
        ]
    )


def test_without_targets_there_is_no_column_for_them():
    bare = Section("drain", "how fast", (Column("rows", "", 0),), (Row("all", (5.0,)),))
    assert "target" not in render_section(bare)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        pytest.param(Target(0.45), "< 0.45", id="at most"),
        pytest.param(Target(5000, at_least=True), "> 5,000", id="at least"),
    ],
)
def test_a_target_says_which_way_is_good(target, text):
    assert str(target) == text


def test_a_row_has_a_value_for_each_column():
    with pytest.raises(ValueError, match="a value for each column"):
        Section("x", "y", (Column("a"), Column("b")), (Row("short", (1.0,)),))


def test_a_report_comes_back_from_its_json():
    report = Report("2026-01-01T00:00:00+00:00", {"cores": "2"}, "quick", [SECTION])
    assert from_json(report.as_json()) == report


def test_a_report_names_its_machine():
    assert "cores 2" in render(Report("now", {"cores": "2"}, "quick", [SECTION]))


def test_failures_are_told_with_an_example():
    assert errors_remark([0, 2], "503") == ("2 exchanges failed and are not counted, such as: 503",)


def test_no_failures_need_no_remark():
    assert errors_remark([0, 0], "") == ()
