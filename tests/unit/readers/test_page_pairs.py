"""ColPali and VisRAG: pages in Parquet cells become the pairs that their description asks for."""

import os
from pathlib import Path

import pytest

import raw_sets
from sources import pair, prepared

VISRAG_PLOT = (
    "This query relates to retrieving a relevant plot or chart that visually represents numerical data. The "
    "retrieved figure should contain the necessary information to analyze trends, compare values, or extract "
    "key insights related to the query: "
)
VISRAG_TEXTBOOK = (
    "This query is related to a college-level textbook, which provides structured explanations, definitions, "
    "and examples. Find the most relevant concepts or explanations that address the query: "
)


def test_colpali(tmp_path: Path) -> None:
    raw_sets.colpali(tmp_path)
    page = "data/train-00000-of-00001.parquet!image"
    assert prepared(tmp_path, "colpali-train") == [
        pair(
            "colpali_train_set",
            "1",
            {"text": "<image> What is the total?", "image": f"{page}[0]"},
            {"text": "['42']"},
        ),
        pair(
            "colpali_train_set", "2", {"text": "<image> Which option?", "image": f"{page}[1]"}, {"text": "B"}
        ),
    ]


def test_visrag(tmp_path: Path) -> None:
    raw_sets.visrag(tmp_path)
    first, second = (f"data/train-0000{number}-of-00002.parquet!image" for number in (0, 1))
    plot = "A numerical data visualization, such as bar charts or line graphs."
    textbook = "A textbook page with structured educational content and explanations."
    assert prepared(tmp_path, "visrag-train") == [
        pair("visrag-indomain", "1", {"text": f"{VISRAG_PLOT} How many? "},
             {"text": f"{plot}  <image>", "image": f"{first}[0]"}),
        pair("visrag-indomain", "2", {"text": f"{VISRAG_TEXTBOOK} Why? "},
             {"text": f"{textbook}  <image>", "image": f"{first}[1]"}),
        pair("visrag-indomain", "3", {"text": "Who? "}, {"text": " <image>", "image": f"{second}[0]"}),
    ]  # fmt: skip


def test_a_folder_of_pages_is_listed_once_whatever_the_number_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, real = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or real(path))
    names = [f"{number}.png" for number in range(30)]
    rows = [{"image": name, "query": "what?", "answer": "that"} for name in names]
    raw_sets.parquet(tmp_path, "data/train-00000-of-00001.parquet", rows)
    for name in names:
        raw_sets.put(tmp_path, f"data/{name}", b"x")
    made = prepared(tmp_path, "colpali-train")
    assert [row["query"]["image"] for row in made] == [f"data/{name}" for name in names]
    assert len(listed) < 10
