"""How a number is written in a page."""

import math


def decimal(value: float | str, digits: int = 2) -> str:
    """Two digits behind the point, unless asked for others; what is nearly zero keeps one significant digit, none is ""."""
    number = math.nan if value == "" else float(value)
    if math.isnan(number):
        return ""
    text = f"{number:.{digits}f}"
    if float(text):
        return text
    return f"{number:.1g}" if number else f"{0:.{digits}f}"


def interval(value: float | str, low: float | str, high: float | str, digits: int = 2) -> str:
    """A value and its interval, as "0.86 [0.79, 0.92]"; the value alone where there is no interval, or one of no width."""
    text, bounds = decimal(value, digits), [decimal(bound, digits) for bound in (low, high)]
    return f"{text} [{bounds[0]}, {bounds[1]}]" if all(bounds) and bounds != [text, text] else text


def shown(row: dict[str, str], form: str = "interval", digits: int = 2) -> str:
    """A measure in one of the forms: interval, value, count (a whole number), percent, n (the number of facts)."""
    if form == "interval":
        return interval(row["value"], row["ci_low"], row["ci_high"], digits)
    if form == "n":
        return f"{int(float(row['n']))}"
    scale, places = {"value": (1, digits), "count": (1, 0), "percent": (100, 0)}[form]
    text = decimal(scale * float(row["value"]), places)
    return text + "%" * (form == "percent")
