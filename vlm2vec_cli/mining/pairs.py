"""The pairs of a run, the corpus beside them, and what both say about which target answers which query."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.mining.identity import Identity, documents
from vlm2vec_cli.mining.looks import Looks
from vlm2vec_cli.mining.settings import TEXT_OF_POSITIVE
from vlm2vec_cli.mining.stock import Origins, Spool, Units, numbers
from vlm2vec_cli.schemas.base import Record, Row

DEFAULT_DATASET = "default"
Mark = tuple[str, str, str]  # dataset, "id", "key", "document" or "file", value


@dataclass
class Offers:
    """What may be mined, in order: dataset, id, unit and group of each, and whether it is called a query.

    `ids` settle ties; `names` are the targets' own ids, None where they have none.
    """

    from_corpus: bool = False
    datasets: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    units: "array[int]" = field(default_factory=numbers)
    groups: "array[int]" = field(default_factory=numbers)
    queries: bytearray = field(default_factory=bytearray)

    def add(
        self, dataset: str, id: str, unit: int, group: int, *, name: str | None, query: bool = False
    ) -> None:
        """One more."""
        self.datasets.append(dataset)
        self.ids.append(id)
        self.names.append(name)
        self.units.append(unit)
        self.groups.append(group)
        self.queries.append(query)

    def add_from(self, other: "Offers", place: int) -> None:
        """One more, taken over."""
        self.add(
            other.datasets[place],
            other.ids[place],
            other.units[place],
            other.groups[place],
            name=other.names[place],
            query=bool(other.queries[place]),
        )


class Pairs:
    """Columns about the pairs, a value a row; `spooled` is the place of the row itself in `spool`.

    `label_field` None: targets are contents. Else a dotted path to each pair's label: targets are labels, and
    `names` are the units of the labels' own texts. `target_ids` are the ids that positives have. `looks` are
    told of every target's picture; with `by_document`, `documents` are the marks of the documents that a
    group of targets is part of.
    """

    def __init__(
        self,
        identity: Identity,
        label_field: str | None = None,
        *,
        looks: Looks | None = None,
        by_document: bool = False,
    ) -> None:
        self.identity, self.label_field = identity, label_field
        self.looks, self._by_document = looks, by_document
        self.documents: defaultdict[int, dict[Mark, None]] = defaultdict(dict)
        self.spool, self.origins = Spool(), Origins()
        self.queries = Units(self.spool, self.origins)
        self.targets = Units(self.spool, self.origins)
        by_text = label_field in (None, TEXT_OF_POSITIVE)
        self.names = self.targets if by_text else Units(self.spool, self.origins)
        self.names_of: dict[int, int] = {}  # by group, as `labels`
        self.labels: dict[int, str] = {}
        self.ids: list[str] = []
        self.datasets: list[str] = []
        self.query, self.positive = numbers(), numbers()  # units
        self.query_group, self.positive_group = numbers(), numbers()
        self.origin, self.number, self.spooled = numbers(), numbers(), numbers()
        self.alive = bytearray()
        self.target_ids: dict[int, str] = {}
        self.marks: dict[int, tuple[Mark, ...]] = {}
        self.existing: dict[int, list[bytes]] = {}
        self.marked: defaultdict[Mark, dict[int, None]] = defaultdict(dict)  # groups that carry the mark
        self._named: set[tuple[str, str]] = set()  # ids and keys of pairs; others are not kept
        self._label_keys: dict[bytes, bytes] = {}
        self._dataset_names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, record: Record) -> None:
        """One more pair. Raises, without place and without a trace, for media that cannot be identified."""
        row, root = record.row, record.origin.media_root
        query_key = self.identity.query(row["query"], root)
        key = self.identity.target(row["positive"], root)
        existing = [self.identity.target(negative, root) for negative in row["negatives"]]
        label = None if self.label_field is None else _label(row, self.label_field)
        if label is not None:
            self._label_keys.setdefault(key, self.identity.label(label))
            key = self.identity.label(label)
        at, origin, number = len(self.ids), self.origins.add(record), record.number
        group = self.targets.group(key)
        self._look(group, row["positive"], record)
        self.query.append(self.queries.add(row["query"], origin, number))
        self.query_group.append(self.queries.group(query_key))
        self.positive.append(self.targets.add(row["positive"], origin, number))
        self.positive_group.append(group)
        if label is not None and group not in self.labels:
            self.labels[group] = label
            unit = self.positive[-1] if self.names is self.targets else None
            self.names_of[group] = self.names.add({"text": label}, origin, number) if unit is None else unit
        self.ids.append(row["id"])
        self.datasets.append(self._dataset_names.setdefault(row["dataset"], row["dataset"]))
        self.origin.append(origin)
        self.number.append(number)
        self.alive.append(True)
        self.spooled.append(self.spool.add(row))
        own = row["positive"].get("id")
        if own is not None:
            self.target_ids[at] = str(own)
        marks = tuple(_marks(row, [*row.get("positive_ids", ()), own]))
        if marks:
            self.marks[at] = marks
            self._named.update(mark[1:] for mark in marks)
            # A positive that names itself is no other of the candidates that answer its query.
            for mark in marks if own is None else _marks(row, [own]):
                self.marked[mark][group] = None
        if existing:
            self.existing[at] = existing
        self._file(group, row["dataset"], {"document": row.get("document"), **row["positive"]}, record)

    def existing_groups(self, row: int) -> list[int]:
        """The groups of the negatives that the row came with, as far as they are targets at all."""
        keys = (self._label_keys.get(key, key) for key in self.existing.get(row, ()))
        groups = (self.targets.group_if_known(key) for key in keys)
        return [group for group in groups if group is not None]

    def group_named(self, label: str) -> int | None:
        """The group of a label that is a target already; None where targets are no labels."""
        if self.label_field is None:
            return None
        return self.targets.group_if_known(self.identity.label(label))

    def label_group(self, label: str) -> int:
        """The group of a label, whether some pair has it or not."""
        return self.targets.group(self.identity.label(label))

    def add_text_target(self, text: str) -> int:
        """The unit of a target that no pair has."""
        return self.targets.add({"text": text}, 0, 0)

    def place(self, row: int) -> str:
        """Where the pair stands."""
        return self.origins.place(self.origin[row], self.number[row])

    def root(self, row: int) -> str:
        """The real path of its media root."""
        return self.origins.roots[self.origin[row]]

    def row(self, row: int) -> Row:
        """A fresh copy of the row as it was read."""
        found: Row = self.spool.get(self.spooled[row])
        return found

    def offers(self) -> Offers:
        """The positives of the pairs that are still alive."""
        offers = Offers()
        for row in self.living():
            at = self.datasets[row], self.ids[row], self.positive[row], self.positive_group[row]
            offers.add(*at, name=self.target_ids.get(row))
        return offers

    def living(self) -> Iterable[int]:
        """The rows that nothing was wrong with, in order."""
        return (row for row, alive in enumerate(self.alive) if alive)

    def add_corpus_row(self, record: Record, offers: Offers) -> int:
        """Takes an item or vector as a target and returns its unit; raises as `add` does.

        All pairs come before.
        """
        row = record.row
        group = self.targets.group(self.identity.target(row, record.origin.media_root))
        self._look(group, row, record)
        unit = self.targets.add(row, self.origins.add(record), record.number)
        self._file(group, row["dataset"], row, record)
        offers.add(row["dataset"], row["id"], unit, group, name=row["id"], query=row["role"] == "query")
        for mark in _marks(row, [*row.get("positive_ids", ()), row["id"]]):
            if mark[1:] in self._named:
                self.marked[mark][group] = None
        return unit

    def _look(self, group: int, content: Row, record: Record) -> None:
        if self.looks is not None:
            root = record.origin.media_root
            self.looks.add(group, content, root, self.identity.beside_pictures(content, root))

    def _file(self, group: int, dataset: str, target: Row, record: Record) -> None:
        if not self._by_document:
            return
        root = self.origins.roots[-1]
        marks = [("", "file", one) for one in documents(target, root)]
        if target.get("document") is not None:
            marks.append((dataset, "document", str(target["document"])))
        for mark in marks:
            self.documents[group][mark] = None
            self.marked[mark][group] = None


def _marks(row: Row, ids: Iterable[Any]) -> Iterable[Mark]:
    for name in dict.fromkeys(ids):
        if name is not None:
            yield row["dataset"], "id", str(name)
    if row.get("key") is not None:
        yield row["dataset"], "key", str(row["key"])


def _label(row: Row, path: str) -> str:
    if path == TEXT_OF_POSITIVE and any(name in row["positive"] for name in ("image", "video")):
        raise DataError(
            "positive: expected a text alone, which is the label",
            hint="--label-field FIELD names the field that holds the label",
        )
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{path}: expected a label")
    return value
