"""Sections as aligned text. Pure."""

from bench.results import Column, Report, Section

NOTHING = "–"


def render(report: Report) -> str:
    """Return the whole report as text."""
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    head = f"{report.at} · {report.scale} · {machine}"
    return "\n\n".join([head, *(render_section(section) for section in report.sections)])


def render_section(section: Section) -> str:
    """Return one section: its title, a line for each row, its remarks."""
    lines = [["", *(column.heading for column in section.columns), "target"]]
    for row in section.rows:
        cells = [
            _cell(value, column) for value, column in zip(row.values, section.columns, strict=True)
        ]
        lines.append([row.label, *cells, str(row.target) if row.target else ""])
    if not any(line[-1] for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    table = [_line(line, widths) for line in lines]
    remarks = [f"  {remark}" for remark in section.remarks]
    return "\n".join([f"{section.case}: {section.title}", *table, *remarks])


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return ("  " + "   ".join(aligned)).rstrip()


def _cell(value: float | None, column: Column) -> str:
    return NOTHING if value is None else f"{value:,.{column.decimals}f}"
