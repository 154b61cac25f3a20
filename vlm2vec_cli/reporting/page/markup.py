"""HTML built from elements: every text and attribute is escaped, there is no other way to put one in."""

from collections.abc import Iterable
from html import escape

from vlm2vec_cli.reporting.numbers import printable

EMPTY = frozenset({"meta", "input"})
"""Elements of HTML without an end; shapes of SVG need one."""


class Html(str):
    """Finished markup; any other string is text."""

    __slots__ = ()


Child = str | None


def element(
    name: str, /, *children: Child | Iterable[Child], **attributes: str | float | bool | None
) -> Html:
    """One element. `class_` is class, `_` in names is `-`; True is a bare attribute, None and False none.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    parts = [name]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(attribute)
        elif value is not None and value is not False:
            parts.append(f'{attribute}="{escape(printable(str(value)), quote=True)}"')
    inner = "".join(_text(child) for child in _flat(children))
    return Html(f"<{' '.join(parts)}>" if name in EMPTY else f"<{' '.join(parts)}>{inner}</{name}>")


def join(parts: Iterable[Child], separator: str = "\n") -> Html:
    """Several pieces as one."""
    return Html(separator.join(_text(part) for part in parts if part))


def _flat(children: Iterable[Child | Iterable[Child]]) -> Iterable[Child]:
    for child in children:
        if child is None or isinstance(child, str):
            yield child
        else:
            yield from child


def _text(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Html) else escape(printable(child), quote=False)
