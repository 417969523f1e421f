"""Figures as people read them: short, with a unit, and never `0` where nothing is known."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def compact(amount: int) -> str:
    """Return a count for a headline: `999`, `12.3k`, `1.23M`, `4.56B`."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        # Half a last digit early: 999,950 is "1.00M", not "1000.0k".
        if amount >= size - size // 2_000:
            scaled = amount / size
            return f"{scaled:.2f}{letter}" if size > 10**3 else f"{scaled:.1f}{letter}"
    return str(amount)


def duration(seconds: float) -> str:
    """Return a span in its two largest units: `45 s`, `2 h 15 m`, `3 d 4 h`; rounds up to 1 s."""
    left = max(1, round(seconds))
    if left < 60:
        return f"{left} s"
    parts: list[str] = []
    for size, letter in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {letter}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def percent(part: float, whole: float) -> str:
    """Return a share: `37 %`, `0.4 %`; `–` of nothing."""
    if whole == 0:
        return "–"
    share = 100 * part / whole
    return f"{share:.1f} %" if 0 < share < 1 else f"{share:.0f} %"


def change(now: float, before: float) -> str:
    """Return how far `now` is from `before`: `+12 %`, `-3 %`, `no change`; `new` from nothing."""
    if now == before:
        return "no change"
    if before == 0:
        return "new"
    share = round(100 * (now - before) / before)
    return f"{share:+,} %" if share else "no change"
