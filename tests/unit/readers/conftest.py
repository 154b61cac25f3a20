"""Miniatures of raw data, built in a fresh folder. Pictures are a few bytes: nothing here decodes them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlm2vec_cli import catalogue, plugins
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.readers import Raw, References
from vlm2vec_cli.streams.blocks import flat


@dataclass
class Mini:
    """A root folder to fill, and what readers say about it."""

    root: Path
    rejected: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    outside: list[Path] = field(default_factory=list)

    def parquet(self, name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
        return path

    def file(self, name: str, content: bytes | str = b"x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def raw(self, **settings: Any) -> Raw:
        def reject(error: UserError) -> None:
            self.rejected.append(str(error))

        def count(why: str) -> None:
            self.left_out[why] += 1

        references = settings.pop("references", None) or References(self.root, self.outside.append)
        return Raw(self.root, references, reject, count, lambda why: self.noted.update([why]), **settings)

    def read(self, entry: catalogue.Entry, side: str, **settings: Any) -> list[dict[str, Any]]:
        reader = plugins.load("readers", catalogue.reader_of(entry))
        return list(flat(reader.read(entry, self.raw(**settings), side)))


@pytest.fixture
def mini(tmp_path: Path) -> Mini:
    return Mini(tmp_path)


def facts(entry: catalogue.Entry) -> dict[str, Any]:
    """The task facts that a query row carries."""
    return {name: entry[name] for name in ("modality", "task_type", "group", "main_metric")}
