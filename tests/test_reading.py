"""Vectors and scores as other tools read them: the lines of the README, each run as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import readme
from reports import score_row
from vlm2vec_cli import streams
from vlm2vec_cli.schemas.score import SCORE
from vlm2vec_cli.schemas.vector import VECTOR

TEXT = (
    readme.README.read_text(encoding="utf-8")
    .partition("### Reading the files elsewhere")[2]
    .partition("\n### ")[0]
)
SHOWN = {
    re.split(r"\W+", block.code)[1]: block.code for block in readme.blocks(TEXT) if block.language == "py"
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Vectors of a corpus and of queries, and scores, in the working directory; the corpus, shape (9, 4)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    drawn = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    corpus = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    for name, some in (("corpus", corpus), ("queries", corpus[[4, 7]])):
        rows = [
            {"id": str(n), "dataset": "d", "role": "candidate", "embedding": one}
            for n, one in enumerate(some)
        ]
        streams.write_file(f"{name}.parquet", rows, VECTOR, {"fingerprint": "f", "dim": 4})
    streams.write_file("scores.jsonl", [score_row("A", 0.5, "m"), score_row("B", 0.25, "m")], SCORE)
    return corpus


def test_the_readme_has_them_all() -> None:
    assert list(SHOWN) == ["duckdb", "polars", "pandas", "datasets", "faiss", "sentence_transformers"]


@pytest.mark.filterwarnings("default")  # those of other libraries are theirs
@pytest.mark.parametrize("tool", SHOWN)
def test_the_lines_of_the_readme_run(files: np.ndarray, tool: str) -> None:
    pytest.importorskip(tool, reason=f"{tool} is not installed here")
    found: dict[str, Any] = {}
    exec(compile(SHOWN[tool], "README.md", "exec"), found)
    if "vectors" in found:
        np.testing.assert_array_equal(np.asarray(found["vectors"].tolist(), dtype=np.float32), files)
    if "scores" in found:
        table = found["scores"]
        table = table.pl() if hasattr(table, "pl") else table
        assert [*table["dataset"]] == ["A", "B"]
        assert [*table["main_score"]] == [0.5, 0.25]
    if "nearest" in found:
        assert [int(one) for one in found["nearest"]] == [4, 7]
    assert {"vectors", "scores", "nearest"} & set(found)


def test_a_folder_of_parts_is_read_as_one(files: np.ndarray) -> None:
    Path("parts").mkdir()
    for number in (0, 1):
        pl.read_parquet("corpus.parquet")[number * 5 : number * 5 + 5].write_parquet(
            f"parts/part-{number}.parquet"
        )
    assert pl.read_parquet("parts/*.parquet")["embedding"].to_numpy().tolist() == files.tolist()
