"""Raw rows: annotation files found under the root, read a batch at a time, only the columns asked for."""

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from vlm2vec_cli.catalogue import Entry
from vlm2vec_cli.errors import DataError, nearest
from vlm2vec_cli.readers._cells import parquet
from vlm2vec_cli.readers._raw import Missing, NotThere, Raw
from vlm2vec_cli.streams import opening

BATCH_ROWS = 128
UNITS = {".parquet": "row", ".json": "entry"}


@dataclass(frozen=True, slots=True)
class RawRow:
    """One raw row. `index` counts from 0 in its file, `number` from 1 over all files of the dataset."""

    values: dict[str, Any]
    path: Path
    index: int
    number: int

    @property
    def place(self) -> str:
        """Such as "Data/test.parquet row 3"."""
        return place_of(self.path, self.index)

    def text(self, column: str) -> str:
        """A string, "" for null; DataError for anything else."""
        value = self.values.get(column)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise DataError(f"{column}: expected a string, got {type(value).__name__}")
        return value

    def identifier(self, column: str) -> str:
        """A non-empty string or an integer, as string."""
        value = self.values.get(column)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            raise DataError(f"{column}: expected a non-empty string or an integer, got {value!r}")
        return value

    def texts(self, column: str) -> list[str]:
        """A list of strings, null entries as ""; a single string is a list of one."""
        value = self.values.get(column)
        if value is None or isinstance(value, str):
            return [value or ""]
        if not isinstance(value, list) or not all(one is None or isinstance(one, str) for one in value):
            raise DataError(f"{column}: expected a list of strings")
        return [one or "" for one in value]


def place_of(path: Path, index: int) -> str:
    """How messages name a row of a file, counted from 0 here and from 1 there."""
    return f"{path} {UNITS.get(path.suffix, 'line')} {index + 1}"


def annotations(entry: Entry, raw: Raw, part: str | None = None) -> list[Path]:
    """The annotation files of an entry, or of one `part` (such as queries, corpus, or one of its configs).

    Accepted places under the root: `annotations/NAME`, the repository's name with or without its owner, a hub
    cache, `NAME` itself, the entry's own `local.mirror` and `local.annotation_jsonl`.
    Raises NotThere, a MissingError, naming them and the hub repository.
    """
    hf, local = entry.get("hf") or {}, entry.get("local") or {}
    split = raw.split or hf.get("split") or "test"
    looked: list[str] = []
    for folder in _folders(entry, raw.root, part):
        if found := split_files(folder, split):
            return found
        looked.append(folder.relative_to(raw.root).as_posix())
    if "annotation_jsonl" in local and part is None:
        if (raw.root / local["annotation_jsonl"]).is_file():
            return [raw.root / local["annotation_jsonl"]]
        looked.append(local["annotation_jsonl"])
    named = f"{entry['name']}, {part}" if part else entry["name"]
    fact = f"{named}: no annotations of the split {split!r} in {raw.root}; looked in {', '.join(looked)}"
    error = NotThere(fact, hint=_published(hf, part))
    error.missing = (Missing(_expected(looked, hf, split, part, local), hf.get("repo")),)
    raise error


def _expected(
    looked: Sequence[str], hf: Mapping[str, Any], split: str, part: str | None, local: Mapping[str, Any]
) -> str:
    """A name that the missing annotations would be found under."""
    if not hf.get("repo") or ("annotation_jsonl" in local and not hf.get("config") and part is None):
        return str(local.get("annotation_jsonl", looked[0]))
    folder = "/".join((hf["repo"].rsplit("/", 1)[-1], *(one for one in [part or hf.get("config")] if one)))
    return f"{folder}/{split}-*.parquet"


def _published(hf: Mapping[str, Any], part: str | None) -> str | None:
    """Where the annotations can be had."""
    if not hf.get("repo"):
        return None
    config = part or hf.get("config")
    return f"they are the dataset {hf['repo']} on the hub{f', config {config}' if config else ''}"


def _folders(entry: Entry, root: Path, part: str | None) -> Iterable[Path]:
    hf, local = entry.get("hf") or {}, entry.get("local") or {}
    name, repo, config = entry["name"], hf.get("repo") or entry["name"], hf.get("config")
    short = repo.rsplit("/", 1)[-1]
    bases = [root / "annotations" / name, root / "annotations" / short]
    if "mirror" in local:
        bases.append(root / local["mirror"])
    bases += [root / short, root / repo, *([root] if entry.get("homes") else [])]
    bases += sorted(root.glob(f"datasets--{repo.replace('/', '--')}/snapshots/*"))
    bases.append(root / name)
    inner = part or config
    folders = [base / inner for base in bases] if inner else []
    if part is None:
        folders += [*bases, *([root / "annotations" / config, root / config] if config else [])]
    return dict.fromkeys(folders)


def split_files(folder: Path, split: str) -> list[Path]:
    """The files of one split in a folder as the hub lays them out, shards in order."""
    for where in (folder, folder / "data"):
        names = sorted(os.listdir(where)) if os.path.isdir(where) else []
        for pattern in (f"{split}-*.parquet", f"{split}.parquet", f"{split}.jsonl", f"{split}.jsonl.gz"):
            if found := fnmatch.filter(names, pattern):
                return [where / name for name in found]
    return []


def rows(
    paths: Sequence[Path], required: Sequence[str], raw: Raw, optional: Sequence[str] = ()
) -> Iterator[RawRow]:
    """The rows of `paths`, one file after the other. Lines that are no JSON object go to `raw.reject`.

    Of Parquet files only the named columns are read; `image.path` is a field of a struct. Raises DataError
    for a damaged file and for a `required` column that a Parquet file lacks.
    """
    number = 0
    for path in paths:
        source = (
            _parquet(path, required, optional) if path.suffix == ".parquet" else _lines(path, required, raw)
        )
        for index, values in source:
            number += 1
            yield RawRow(values, path, index, number)


def _parquet(
    path: Path, required: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    for start, batch in parquet_batches(path, required, optional, BATCH_ROWS):
        yield from enumerate(batch.to_pylist(), start)


def parquet_batches(
    path: Path, required: Sequence[str], optional: Sequence[str], size: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The first row, from 0, and the columns of each `size` rows. DataError as said at `rows`."""
    with parquet(path) as file:
        known = file.schema_arrow.names
        for column in required:
            if column not in known:
                hint = nearest(column, known) or f"columns: {', '.join(known)}"
                raise DataError(f"no column {column!r}", place=str(path), hint=hint)
        columns = [*required, *(one for one in optional if one in known or one.split(".")[0] in known)]
        start = 0
        for batch in file.iter_batches(batch_size=size, columns=columns):
            yield start, batch
            start += batch.num_rows


def _lines(path: Path, required: Sequence[str], raw: Raw) -> Iterator[tuple[int, dict[str, Any]]]:
    with opening.opened(str(path)) as (_, stream):
        for number, line in opening.lines(stream, str(path)):
            try:
                values = orjson.loads(line)
                absent = [one for one in required if one not in values] if isinstance(values, dict) else []
                fact = f"no field {absent[0]!r}" if absent else "expected a JSON object"
                if isinstance(values, dict) and not absent:
                    yield number - 1, values
                    continue
            except orjson.JSONDecodeError as error:
                fact = f"not JSON: {error}"
            raw.reject(DataError(fact, place=f"{path} line {number}"))
