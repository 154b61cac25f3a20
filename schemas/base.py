"""What all kinds of rows share: the tag, the fields, the checks, the upgrade chain.

A row is a plain dict; fields that a kind does not know stay in it untouched. A null is an absent field.
A tag, `"schema": "vlm2vec/item@1"`, names kind and version; a row without one is of the kind its reader
expects. Every older version is upgraded on the way in, a newer one is refused.
"""

import re
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas.field_types import TYPES

Row = dict[str, Any]
TAG = re.compile(r"vlm2vec/([a-z]+)@([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from.

    `name` is the path as typed or "stdin"; `metadata` is the `vlm2vec` key of a Parquet file.
    """

    name: str
    media_root: Path
    unit: Literal["line", "row"]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One row with its place; `number` counts from 1 in its file."""

    row: Row
    origin: Origin
    number: int

    @property
    def place(self) -> str:
        """Such as "rows.jsonl line 12", "vectors.parquet row 3", "stdin line 1"."""
        return f"{self.origin.name} {self.origin.unit} {self.number}"


class Field(NamedTuple):
    """One known field of a kind; `type` is a key of `field_types.TYPES`."""

    name: str
    type: str
    doc: str
    required: bool = False
    default: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class Kind:
    """A kind of row.

    `upgrades[n]` turns a row of version n into one of version n + 1, a pure function. `check` looks at a
    whole row after its fields. `file_fields` are equal for all rows of a run: Parquet holds them once, as
    file metadata.
    """

    name: str
    doc: str
    fields: tuple[Field, ...]
    version: int = 1
    upgrades: Mapping[int, Callable[[Row], Row]] = field(default_factory=dict)
    check: Callable[[Row], None] | None = None
    file_fields: tuple[str, ...] = ()

    @cached_property
    def tag(self) -> str:
        """Such as "vlm2vec/item@1"."""
        return f"vlm2vec/{self.name}@{self.version}"

    def parse(self, row: Row, default_id: str) -> Row:
        """`row` itself: upgraded, checked, normalised, defaults and tag set. DataError without a place."""
        row = self._upgraded(row)
        needed = self._needed
        for one in [one for one in self.fields if one[0] in row or one[0] in needed]:
            value = row.get(one.name)
            if value is None:
                row.pop(one.name, None)
            else:
                try:
                    value = TYPES[one.type].normalise(value)
                except DataError as error:
                    raise DataError(f"{one.name}: {error.fact}", hint=error.hint) from None
                if value is None:
                    del row[one.name]
                else:
                    row[one.name] = value
                    continue
            if one.required:
                raise DataError(f"{one.name}: missing; expected {TYPES[one.type].words}")
            default = default_id if one.name == "id" else one.default
            if default is not None:
                row[one.name] = copy(default)
        if self.check is not None:
            self.check(row)
        row["schema"] = self.tag
        return row

    @cached_property
    def _needed(self) -> frozenset[str]:
        """The fields that matter where they are absent."""
        return frozenset(
            one.name for one in self.fields if one.required or one.default is not None or one.name == "id"
        )

    def _upgraded(self, row: Row) -> Row:
        tag = row.get("schema")
        if tag is None or tag == self.tag:
            return row
        known = TAG.fullmatch(tag) if isinstance(tag, str) else None
        if known is None:
            raise DataError(f"schema: expected {self.tag}, got {tag!r}")
        name, version = known[1], int(known[2])
        if name != self.name:
            raise DataError(f"schema: expected {self.tag}, got {tag}")
        if version > self.version:
            raise DataError(f"schema: {tag} is newer than {self.tag}", hint="install a newer vlm2vec-cli")
        for step in range(version, self.version):
            row = self.upgrades[step](row)
        return row

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of rows of this kind as other tools see them."""
        tag = {"const": self.tag, "description": "Kind and version of the row."}
        properties: dict[str, Any] = {"schema": tag}
        for one in self.fields:
            properties[one.name] = {"description": one.doc, **TYPES[one.type].json_schema()}
            if one.default is not None:
                properties[one.name]["default"] = one.default
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.tag,
            "description": self.doc,
            "type": "object",
            "properties": properties,
            "required": [one.name for one in self.fields if one.required],
            "additionalProperties": True,
        }


def kind_of(row: Row, kinds: tuple[Kind, ...]) -> Kind:
    """The kind whose name the row's tag has; the first for a row without tag; DataError for any other tag."""
    tag = row.get("schema")
    if tag is None or len(kinds) == 1:
        return kinds[0]
    for kind in kinds:
        if tag == kind.tag:
            return kind
    known = TAG.fullmatch(tag) if isinstance(tag, str) else None
    for kind in kinds:
        if known is not None and kind.name == known[1]:
            return kind
    raise DataError(f"schema: expected {' or '.join(kind.tag for kind in kinds)}, got {tag}")
