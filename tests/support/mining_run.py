"""A mining run on rows in memory."""

import json
import tempfile
from pathlib import Path
from typing import Any

from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.mining.run import Run, load
from vlm2vec_cli.mining.settings import Settings
from vlm2vec_cli.streams import Session

Row = dict[str, Any]


def run(pairs: list[Row], options: Row, files: dict[str, list[Row]] | None = None) -> tuple[list[Row], Row]:
    """The written rows and the summary."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, rows in {"pairs.jsonl": pairs, **(files or {})}.items():
            (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for field in ("vectors", "corpus"):
            if options.get(field):
                options = {**options, field: str(folder / options[field])}
        with Session([str(folder / "pairs.jsonl")], str(folder / "out.jsonl"), quiet=True) as session:
            summary = Run(session, Settings(**options), MediaReader(), load, load).mine()
        return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()], summary.facts
