"""ColPali and VisRAG: pages in Parquet cells become the pairs that their description asks for."""

from pathlib import Path

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
