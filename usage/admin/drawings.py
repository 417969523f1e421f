"""Small drawings of the console: bars of budgets, sparklines, and what a chart is told.

Inline SVG without styles, so that no policy of a browser is in the way; each says in words what
it shows.
"""

import json
from collections.abc import Mapping, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from keys.core.budget import format_amount, format_window
from usage.core.figures import compact, duration
from usage.core.price import humane_usd
from usage.standing import BudgetStanding

NEAR, SPENT = 0.75, 0.90
_SPARK_HEIGHT = 20
_SPARK_STEP = 4
# Okabe and Ito's, without the yellow that white paper swallows, and two of Tol's: told apart by
# nearly everyone, on light and on dark.
PALETTE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#999933",
    "#AA4499",
)
OTHER = "#888888"
_AXIS = {"ticks": {"color": "#9ca3af", "maxTicksLimit": 8}, "stacked": True}
_OPTIONS = {
    "responsive": True,
    "maintainAspectRatio": False,
    "animation": False,
    "interaction": {"mode": "index", "intersect": False},
    "plugins": {
        "legend": {"display": True, "position": "bottom", "labels": {"color": "#9ca3af"}},
    },
    "scales": {
        "x": _AXIS | {"grid": {"display": False}},
        "y": _AXIS | {"beginAtZero": True, "grid": {"color": "#9ca3af33"}},
    },
}


def level(share: float) -> str:
    """Return the word for how much of a budget is used: `ok`, `near` or `spent`."""
    if share >= SPENT:
        return "spent"
    return "near" if share >= NEAR else "ok"


def budget_bar(budget: BudgetStanding, now_ms: int) -> SafeString:
    """Draw what is used of a budget, with the amounts in words and when it frees up."""
    name = level(budget.share)
    word = {"ok": "", "near": "near its limit", "spent": "nearly spent"}[name]
    if budget.share >= 1:
        word = "spent"
    return format_html(
        '<div class="cc-budget"><div class="cc-budget-text"><span title="{}">{}</span>'
        '<span class="cc-{}">{}</span></div>{}<div class="cc-budget-note">{}</div></div>',
        budget_title(budget),
        budget_amounts(budget),
        name,
        word,
        bar(budget.share, budget_title(budget)),
        frees(budget, now_ms),
    )


def bar(share: float, label: str) -> SafeString:
    """Draw a share of a whole as a bar."""
    return format_html(
        '<svg class="cc-bar cc-{}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><rect class="cc-track" width="100" height="6"/>'
        '<rect class="cc-fill" width="{}" height="6"/></svg>',
        level(share),
        label,
        f"{100 * min(1.0, max(0.0, share)):.1f}",
    )


def budget_amounts(budget: BudgetStanding) -> str:
    """Return `4.21M of 5.00M tokens / 5h`; `≈` before what is known to the hour."""
    about = "≈ " if budget.to_the_hour else ""
    window = format_window(budget.limit.window_s)
    team = ", of the team" if budget.of_team else ""
    if budget.limit.unit == "usd":
        used, limit = humane_usd(budget.used), humane_usd(budget.limit.limit)
        return f"{about}{used} of {limit} / {window}{team}"
    used, limit = compact(budget.used), compact(budget.limit.limit)
    return f"{about}{used} of {limit} tokens / {window}{team}"


def budget_title(budget: BudgetStanding) -> str:
    """Return the exact figures of a budget."""
    unit = budget.limit.unit
    used, limit = format_amount(unit, budget.used), format_amount(unit, budget.limit.limit)
    held = f", {format_amount(unit, budget.held)} held" if budget.held else ""
    return f"{used} of {limit} in {format_window(budget.limit.window_s)}{held}"


def frees(budget: BudgetStanding, now_ms: int) -> str:
    """Return when the budget frees up, in words; nothing when nothing is used."""
    if budget.frees_at_ms is None:
        return "to the hour" if budget.to_the_hour else ""
    left = duration((budget.frees_at_ms - now_ms) / 1000)
    if budget.limit.anchored:
        return f"resets in {left}"
    return f"opens in {left}" if budget.share >= 1 else f"begins to free up in {left}"


def sparkline(values: Sequence[int], label: str) -> SafeString:
    """Draw one bar for each value; nothing used is a dot on the ground."""
    top = max(values, default=0) or 1
    bars = []
    for place, value in enumerate(values):
        height = max(2, round(_SPARK_HEIGHT * value / top)) if value else 1
        bars.append((place * _SPARK_STEP, _SPARK_HEIGHT - height, height))
    return format_html(
        '<svg class="cc-spark" viewBox="0 0 {} {}" width="{}" height="{}" role="img"'
        ' aria-label="{}"><title>{}</title>{}</svg>',
        _SPARK_STEP * len(values),
        _SPARK_HEIGHT,
        _SPARK_STEP * len(values),
        _SPARK_HEIGHT,
        label,
        label,
        format_html_join("", '<rect x="{}" y="{}" width="3" height="{}"/>', bars),
    )


def stacked_chart(
    labels: Sequence[str], series: Mapping[str, Sequence[float]], colors: Mapping[str, str]
) -> dict[str, str]:
    """Return the data and the options of a chart of stacked bars, one colour for each series."""
    datasets = [
        {
            "label": name,
            "data": list(values),
            "backgroundColor": colors.get(name, OTHER),
            "borderRadius": 2,
        }
        for name, values in series.items()
    ]
    data = {"labels": list(labels), "datasets": datasets}
    return {"data": json.dumps(data), "options": json.dumps(_OPTIONS)}


def model_colors(model_ids: Sequence[str]) -> dict[str, str]:
    """Give each model of the catalogue, in its order, its colour; beyond eight all share one."""
    return {
        model_id: PALETTE[place] if place < len(PALETTE) else OTHER
        for place, model_id in enumerate(model_ids)
    }
