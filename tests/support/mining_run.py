"""A mining run on rows in memory, and models that need no weights."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.mining.run import Run, load
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.streams import Session

Row = dict[str, Any]
VectorOf = Callable[[str, str], list[float]]


def run(
    pairs: list[Row],
    options: Row,
    files: dict[str, list[Row]] | None = None,
    *,
    models: dict[str, "Model"] | None = None,
    folder: Path | None = None,
    skip: bool = False,
) -> tuple[list[Row], Row]:
    """The written rows and the summary; `models` takes the place of folders with weights.

    `folder` keeps the files, and is where media and other named files are. With `skip` bad rows are skipped.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = folder or Path(name)
        for file, rows in {"pairs.jsonl": pairs, **(files or {})}.items():
            (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for field in ("vectors", "corpus", "audit", "cache"):
            if options.get(field):
                options = {**options, field: str(folder / options[field])}

        def make(model: str, media: MediaReader, texts: Iterable[str]) -> Any:
            return load(model, media, texts) if models is None else models[model]

        more: Row = {"on_error": "skip", "allow_rejects": 99} if skip else {}
        with Session([str(folder / "pairs.jsonl")], str(folder / "out.jsonl"), quiet=True, **more) as session:
            summary = Run(session, Settings(**options), MediaReader(), make, make).mine()
        return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()], summary.facts


class Model(SimpleNamespace):
    """As much of an Encoder as mining asks for; `asked` are the contents it was given."""

    def __init__(self, vector_of: Callable[[Row], list[float]], fingerprint: str = "stub") -> None:
        super().__init__(fingerprint=fingerprint, model=fingerprint)
        self._vector_of = vector_of
        self.dim = 3
        self.asked: list[Row] = []

    def encode(self, inputs: Iterable[Any], reject: Any) -> Iterator[NDArray[np.float32] | None]:
        for one in inputs:
            self.asked.append(one.content)
            try:
                vector = self._vector_of(one.content)
            except DataError as error:
                reject(error.at(one.place))
                yield None
            else:
                yield np.array(vector, np.float32)


def scattered(key: str) -> list[float]:
    """One of a few directions of three dimensions for each key, so that scores are often equal."""
    random = np.random.default_rng(list(hashlib.sha256("".join(key.split()).encode()).digest()))
    return [float(one) for one in random.integers(-2, 3, 3) + np.array([0.5, 0, 0])]
