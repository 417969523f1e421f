from xml.etree import ElementTree

from bench.charts import chart, write_charts
from bench.results import Column, Report, Row, Section, Target

SECTION = Section(
    "bodies",
    "by size <of the body>",
    (Column("CPU", "ms", 3),),
    (Row("1 KB", (0.9,), Target(0.45)), Row("50 KB", (1.8,)), Row("not measured", (None,))),
)


def test_a_chart_is_wellformed_and_says_its_numbers():
    text = "".join(ElementTree.fromstring(chart(SECTION)).itertext())
    assert "0.900 ms" in text
    assert "by size <of the body>" in text


def test_bars_are_in_proportion():
    bars = [e for e in ElementTree.fromstring(chart(SECTION)).iter() if e.get("class") == "bar"]
    short, long = (float(bar.get("width")) for bar in bars)
    assert long == 2 * short


def test_a_report_gives_a_file_for_each_section_with_a_chart(tmp_path):
    other = Section("drain", "no chart", (Column("rows"),), (Row("all", (1.0,)),))
    files = write_charts(Report("now", {}, "quick", [SECTION, other]), tmp_path)
    assert files == [tmp_path / "bodies.svg"]
