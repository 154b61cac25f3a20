"""How numbers look to people: percent with one decimal, as the paper prints them; and text made printable."""

import unicodedata

from vlm2vec_cli.reporting.results import Interval

ABSENT = "-"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent without the sign.

    >>> percent(0.5125), percent(None)
    ('51.2', '-')
    """
    return ABSENT if value is None else f"{value * 100:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference of fractions in points; what rounds to nothing has no sign.

    >>> signed(0.0512), signed(-0.00001)
    ('+5.1', '0.0')
    """
    if value is None:
        return ABSENT
    text = f"{value * 100:+.{digits}f}"
    return text[1:] if not float(text) else text


def half_width(value: float, interval: Interval | None) -> str:
    """The wider side of an interval, in points; empty without one."""
    return "" if interval is None else f"{max(value - interval[0], interval[1] - value) * 100:.1f}"


def apart(one: float, other: float) -> tuple[str, str]:
    """Two percentages with as many decimals as it takes to tell them apart, two at least, six at most.

    >>> apart(0.54998, 0.55)
    ('54.998', '55.000')
    """
    for digits in range(2, 7):
        texts = percent(one, digits), percent(other, digits)
        if texts[0] != texts[1]:
            break
    return texts


def printable(text: str) -> str:
    """`text` with control and other invisible steering characters replaced: safe on a terminal and in XML."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if one in "\t\n\r" else "\ufffd" if _steers(one) else one for one in text)


def _steers(one: str) -> bool:
    return unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Cn") and one not in "\u200d\u200c"


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "task"), plural(2, "task"), plural(2, "query")
    ('1 task', '2 tasks', '2 queries')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1] + 'ies' if noun.endswith('ry') else noun + 's'}"
