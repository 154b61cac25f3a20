"""`--map` in words: where each field of a row comes from, a column, a constant or a template over columns.

query.text=question        the column `question`; `meta.title` also looks inside an object
dataset==mine              the constant "mine"
text={title}: {body}       columns set into a text
negatives.text=wrong       a list, an entry for each negative
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from vlm2vec_cli.errors import DataError, UsageError, nearest
from vlm2vec_cli.schemas.base import Kind, Row
from vlm2vec_cli.schemas.content import NAMES as CONTENT
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR

SIDES = ("query", "positive", "negatives")
PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class Source:
    """Where one field comes from. `value` is a column's name, a constant, or a template."""

    field: tuple[str, ...]
    how: Literal["column", "constant", "template"]
    value: str

    def columns(self) -> list[str]:
        """The columns it looks at."""
        found: list[str] = PLACE.findall(self.value) if self.how == "template" else []
        return [self.value] if self.how == "column" else found

    def take(self, values: Mapping[str, Any]) -> Any:
        """The value in a raw row; None where the column has none. DataError for a gap in a template."""
        if self.how == "constant":
            return self.value
        if self.how == "column":
            return look_up(values, self.value)
        return PLACE.sub(lambda found: self._text(values, found[1]), self.value)

    def _text(self, values: Mapping[str, Any], column: str) -> str:
        value = look_up(values, column)
        if value is None:
            raise DataError(f"no value for {{{column}}}")
        return str(value)


def parse(texts: Iterable[str]) -> list[Source]:
    """The sources that `--map` names. Raises UsageError for a malformed one and a field named twice."""
    found: dict[tuple[str, ...], Source] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        field = tuple(name.strip().split("."))
        if not mark or not value or not all(field):
            raise UsageError(
                f"--map: expected FIELD=COLUMN, got {text!r}", hint="such as query.text=question"
            )
        if field in found:
            raise UsageError(f"--map: {name} is given twice")
        if len(field) > 1 and (field[0] not in SIDES or len(field) > 2):
            raise UsageError(
                f"--map: no field {name!r}", hint="dots stand for a side of a pair, as in query.text"
            )
        if field[0] in SIDES and (len(field) == 1 or (field[1] not in CONTENT and field[0] != "negatives")):
            hint = f"such as {field[0]}.text; content fields: {', '.join(CONTENT)}"
            raise UsageError(f"--map: {name} is no content field", hint=hint)
        if value.startswith("="):
            found[field] = Source(field, "constant", value[1:])
        else:
            found[field] = Source(field, "template" if "{" in value else "column", value)
    return list(found.values())


def kind_of(sources: Sequence[Source]) -> Kind:
    """Pairs when a side of a pair is mapped, else items."""
    return PAIR if any(source.field[0] in SIDES for source in sources) else ITEM


def check(sources: Sequence[Source], known: Sequence[str], table: str) -> None:
    """UsageError for a column that the table does not have."""
    for column in (column for source in sources for column in source.columns()):
        if column not in known and column.split(".")[0] not in known:
            hint = nearest(column, known) or f"columns: {', '.join(known)}"
            raise UsageError(f"--map: no column {column!r} in {table}", hint=hint)


def look_up(values: Mapping[str, Any], column: str) -> Any:
    """A column's value; a name with dots that is no column descends into objects."""
    if column in values:
        return values[column]
    found: Any = values
    for part in column.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def mapped(sources: Sequence[Source], values: Mapping[str, Any]) -> Row:
    """The row: what the sources name, and every column that no source used, under its own name."""
    used = {column for source in sources for column in source.columns()}
    row: Row = {
        name: value
        for name, value in values.items()
        if name not in used and not any(column.startswith(f"{name}.") for column in used)
    }
    for source in sources:
        value = source.take(values)
        if value is None:
            continue
        if source.field[0] == "negatives":
            _spread(row, source.field[1], value)
        elif len(source.field) > 1:
            row.setdefault(source.field[0], {})[source.field[1]] = value
        else:
            row[source.field[0]] = value
    return row


def _spread(row: Row, name: str, value: Any) -> None:
    """Puts a list into the negatives, an entry each; null and empty entries are none."""
    entries = _decoded(value)
    listed = entries if isinstance(entries, list) else [entries]
    negatives = row.setdefault("negatives", [{} for _ in listed])
    if len(negatives) != len(listed):
        raise DataError(f"negatives.{name}: {len(listed)} entries where another field has {len(negatives)}")
    for negative, one in zip(negatives, listed, strict=True):
        if one not in (None, ""):
            negative[name] = one


def typed(row: Row, kind: Kind) -> Row:
    """`row` with texts of tables turned into what its known fields hold: numbers, lists, gains."""
    words = {field.name: field.type for field in kind.fields}
    for name in [name for name in row if name in words]:
        row[name] = _converted(words[name], row[name])
    if "negatives" in row:
        row["negatives"] = (
            [one for one in row["negatives"] if one]
            if isinstance(row["negatives"], list)
            else row["negatives"]
        )
    return row


def _converted(word: str, value: Any) -> Any:
    if word in ("number", "integer", "count") and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise DataError(f"expected a number, got {value!r}") from None
    if word == "gains":
        found = _decoded(value)
        if isinstance(found, dict):
            return {str(key): gain for key, gain in found.items()}
        return {str(key): 1.0 for key in (found if isinstance(found, list) else [found])}
    if word == "ids":
        found = _decoded(value)
        return found if isinstance(found, list) else [found]
    return _decoded(value) if word in ("media", "content", "contents") else value


def _decoded(value: Any) -> Any:
    """The list or object that a text holds as JSON; anything else as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value
