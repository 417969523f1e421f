"""Sections as bar charts, SVG without any library. Pure but for the writing of files.

They follow the reader's light or dark scheme, and carry their numbers as text.
"""

from html import escape
from pathlib import Path

from bench.results import Column, Report, Row, Section

# What a chart shows of a case: its first column. Profiles and single figures need no picture.
CHARTED = ("bodies", "streams", "connections", "latency", "first-byte", "keys", "buckets")
WIDTH, LABEL_WIDTH, VALUE_WIDTH = 720, 210, 120
BAR_HEIGHT, GAP, TOP, BOTTOM = 22, 10, 56, 14

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.quiet { fill: #59636e; }
.bar { fill: #c96442; }
.target { stroke: #1f2328; stroke-width: 2; stroke-dasharray: 3 2; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .target { stroke: #f0f6fc; }
}"""


def write_charts(report: Report, folder: Path) -> list[Path]:
    """Write a chart for each section that has one; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for section in report.sections:
        if section.case in CHARTED:
            files.append(folder / f"{section.case}.svg")
            files[-1].write_text(chart(section))
    return files


def chart(section: Section) -> str:
    """Return the first column of `section` as bars, with a dashed line at each row's target."""
    column = section.columns[0]
    rows = [row for row in section.rows if row.values[0] is not None]
    most = max((_extent(row) for row in rows), default=0.0) or 1.0
    height = TOP + len(rows) * (BAR_HEIGHT + GAP) + BOTTOM
    bars = "\n".join(_bar(row, column, place, most) for place, row in enumerate(rows))
    heading = f"{column.heading}; dashed: target"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">
<title>{escape(section.title)}</title>
<style>{_STYLE}</style>
<text class="title" x="0" y="18">{escape(section.title)}</text>
<text class="quiet" x="0" y="38">{escape(heading)}</text>
{bars}
</svg>
"""


def _bar(row: Row, column: Column, place: int, most: float) -> str:
    value = row.values[0] or 0.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    top = TOP + place * (BAR_HEIGHT + GAP)
    width = max(1.0, room * max(0.0, value) / most)
    middle = top + BAR_HEIGHT * 0.72
    shown = f"{value:,.{column.decimals}f} {column.unit}".strip()
    after = LABEL_WIDTH + room * _extent(row) / most + 8
    parts = [
        f'<text x="{LABEL_WIDTH - 8}" y="{middle:.1f}" text-anchor="end">'
        f"{escape(row.label)}</text>",
        f'<rect class="bar" x="{LABEL_WIDTH}" y="{top}" width="{width:.1f}"'
        f' height="{BAR_HEIGHT}" rx="3"/>',
        f'<text x="{after:.1f}" y="{middle:.1f}">{escape(shown)}</text>',
    ]
    if row.target is not None:
        x = LABEL_WIDTH + room * row.target.value / most
        parts.append(
            f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}"'
            f' y2="{top + BAR_HEIGHT + 4}"/>'
        )
    return "\n".join(parts)


def _extent(row: Row) -> float:
    target = row.target.value if row.target else 0.0
    return max(row.values[0] or 0.0, target)
