"""The per-query files of `score` and which column each belongs to.

A file is matched by its model and fingerprint, else by what it has of the two, else (it names neither) by
its order: models first, then baselines. That it belongs is checked: the means of its values are the scores. A
score that is no mean over queries, as those of scene graphs, is checked by the others of its row.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.reporting.results import Cell, Column

TAG = "vlm2vec/per-query@1"
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Outcomes:
    """One dataset's queries in file order: row number, id, a metric, rank of the first relevant."""

    metric: str
    rows: list[int]
    queries: list[str]
    values: list[float]
    ranks: list[int | None]

    def by_query(self) -> dict[str, float]:
        """Query id to value."""
        return dict(zip(self.queries, self.values, strict=True))


class PerQuery:
    """One per-query file, read column by column: numbers now, contents of chosen rows later."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.file = pq.ParquetFile(path)
        except FileNotFoundError:
            raise MissingError("no such file", place=path) from None
        except (OSError, pa.ArrowInvalid):
            raise DataError(
                "not a Parquet file", place=path, hint="`score --per-query FILE` writes one"
            ) from None
        metadata = json.loads((self.file.schema_arrow.metadata or {}).get(b"vlm2vec", b"{}"))
        if metadata.get("schema") != TAG:
            raise DataError(f"expected {TAG}, got {metadata.get('schema')}", place=path)
        self.metrics: list[str] = metadata["metrics"]
        numbers = ["dataset", "query", "model", "fingerprint", "rank", *self.metrics]
        self.table = self.file.read(columns=numbers)
        self.model = self._only("model")
        self.fingerprint = self._only("fingerprint")
        self.rows: dict[str, list[int]] = {}
        for row, dataset in enumerate(self.table["dataset"].to_pylist()):
            self.rows.setdefault(dataset, []).append(row)

    def _only(self, name: str) -> str | None:
        values = [value for value in self.table[name].unique().to_pylist() if value is not None]
        if len(values) > 1:
            raise DataError(f"holds {len(values)} {name}s, expected one", place=self.path)
        return str(values[0]) if values else None

    def outcomes(self, dataset: str, metric: str) -> Outcomes | None:
        """The dataset's queries; None where the file has not this dataset or metric."""
        rows = self.rows.get(dataset)
        if rows is None or metric not in self.table.column_names:
            return None
        part = self.table.select(["query", metric, "rank"]).take(rows)
        values = part[metric].to_pylist()
        if None in values:
            return None
        return Outcomes(metric, rows, part["query"].to_pylist(), values, part["rank"].to_pylist())

    def shared(self, dataset: str, cell: Cell) -> tuple[float, Outcomes] | None:
        """A score of the cell and its queries: the main one, else the first that the file has."""
        for metric in (cell.metric, *self.metrics):
            outcomes = self.outcomes(dataset, metric) if metric in cell.metrics else None
            if outcomes is not None:
                return cell.metrics[metric], outcomes
        return None

    def contents(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Complete rows by number; reads only the row groups that hold them."""
        wanted, start = sorted(rows), 0
        found: dict[int, dict[str, Any]] = {}
        for group in range(self.file.num_row_groups):
            stop = start + self.file.metadata.row_group(group).num_rows
            here = [row for row in wanted if start <= row < stop]
            if here:
                table = self.file.read_row_group(group).take([row - start for row in here])
                found.update(zip(here, table.to_pylist(), strict=True))
            start = stop
        return found


def assign(paths: Sequence[str], columns: Sequence[Column]) -> dict[int, PerQuery]:
    """Column position -> its file. DataError for a file that belongs to no column or disagrees with it."""
    order = [index for index, column in enumerate(columns) if not column.baseline]
    order += [index for index, column in enumerate(columns) if column.baseline and not column.published]
    assigned: dict[int, PerQuery] = {}
    for path in paths:
        file = PerQuery(path)
        free = [index for index in order if index not in assigned]
        ranked = sorted(free, key=lambda index: -_agreement(file, columns[index]))
        if not ranked or _agreement(file, columns[ranked[0]]) < 0:
            owner = f"model {file.model!r}" if file.model else "none of the models"
            raise DataError(
                f"belongs to {owner}, of which there are no further scores here",
                place=Path(path).as_posix(),
                hint=f"there are scores of {', '.join(repr(columns[index].name) for index in order)}",
            )
        alike = [
            index
            for index in ranked
            if _agreement(file, columns[index]) == _agreement(file, columns[ranked[0]])
        ]  # sizes of one model differ in their scores alone
        chosen = next((index for index in alike if _difference(file, columns[index]) is None), alike[0])
        difference = _difference(file, columns[chosen])
        if difference is not None:
            raise difference
        assigned[chosen] = file
    return assigned


def _agreement(file: PerQuery, column: Column) -> int:
    """3 for the same fingerprint and name, 2 for the fingerprint, 1 for the name, 0 unknown, -1 other."""
    same_print = file.fingerprint is not None and file.fingerprint in column.fingerprints
    same_name = file.model is not None and file.model == column.model
    if same_print or same_name:
        return 2 * same_print + same_name
    return 0 if file.model is None and file.fingerprint is None else -1


def _difference(file: PerQuery, column: Column) -> DataError | None:
    """Why the file is not that of the column; None where all means are its scores."""
    hint = "the per-query file and the scores must come from the same run of `score`"
    found = {name: file.shared(name, cell) for name, cell in column.cells.items()}
    for dataset, shared in found.items():
        if shared is None:
            continue
        score, outcomes = shared
        mean = sum(outcomes.values) / len(outcomes.values)
        if abs(mean - score) > TOLERANCE:
            return DataError(
                f"dataset {dataset!r}: the mean of {outcomes.metric} is {mean:.6f},"
                f" the score of {column.name} {score:.6f}",
                place=file.path,
                hint=hint,
            )
    if not any(found.values()):
        first, cell = next(iter(column.cells.items()))
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        fact = f"has no score of {column.name} by query, such as {cell.metric} of {first!r}{more}"
        return DataError(fact, place=file.path, hint=hint)
    return None
