import json
import os
from typing import Any

import pyarrow as pa
import pytest

from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import MissingError
from vlm2vec_cli.readers import beir

TASKS = catalogue.tasks()
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CORPUS = pa.schema([("corpus-id", pa.string()), ("image", PICTURE)])
VIDORE = TASKS["ViDoRe_docvqa"]
MIRROR = "visdoc-tasks/data/docvqa_test_subsampled_beir"


def triple(mini: Any, folder: str, split: str, queries: Any, corpus: Any, qrels: Any) -> None:
    name = f"{split}-00000-of-00001.parquet"
    mini.parquet(f"{folder}/queries/{name}", queries)
    mini.parquet(f"{folder}/corpus/{name}", corpus, CORPUS)
    mini.parquet(f"{folder}/qrels/{name}", qrels)


def judged(*rows: tuple[Any, Any, int]) -> list[dict[str, Any]]:
    return [{"query-id": query, "corpus-id": found, "score": score} for query, found, score in rows]


def test_graded_relevance_and_pages_in_the_corpus_file(mini: Any) -> None:
    triple(
        mini,
        MIRROR,
        "test",
        [{"query-id": n, "query": f"question {n}"} for n in (1, 2, 3)],
        [{"corpus-id": name, "image": {"bytes": b"x", "path": "p.png"}} for name in ("a", "b", "a")],
        judged((1, "a", 1), (1, "b", 2), (1, "a", 3), (2, "a", 0), (3, "b", 1), (2, "b", -1)),
    )
    queries = mini.read(VIDORE, "query")
    assert queries[0] == {
        "id": "1",
        "dataset": "ViDoRe_docvqa",
        "role": "query",
        "text": "Find a document image that matches the given query: question 1",
        "relevant": {"a": 3.0, "b": 2.0},
        "modality": "visdoc",
        "task_type": "visual document retrieval (ViDoRe v1)",
        "group": "VDRv1",
        "main_metric": "ndcg_linear@5",
    }
    assert [row["id"] for row in queries] == ["1", "3"]
    assert dict(mini.left_out) == {"ViDoRe_docvqa: query without a relevant candidate": 1}
    corpus = f"{MIRROR}/corpus/test-00000-of-00001.parquet"
    assert mini.read(VIDORE, "candidate") == [
        {
            "id": name,
            "dataset": "ViDoRe_docvqa",
            "role": "candidate",
            "text": "<image> Understand the content of the provided document image.",
            "image": f"{corpus}!image[{row}]",
        }
        for name, row in (("a", 0), ("b", 1))
    ]


def test_pages_as_paths_beside_the_corpus(mini: Any) -> None:
    triple(
        mini,
        MIRROR,
        "test",
        [{"query-id": "q", "query": "x"}],
        [
            {"corpus-id": "a", "image": {"bytes": None, "path": "guide.pdf#page=3"}},
            {"corpus-id": "b", "image": {"bytes": None, "path": "gone.png"}},
        ],
        judged(("q", "a", 1)),
    )
    mini.file(f"{MIRROR}/guide.pdf")
    assert [row["image"] for row in mini.read(VIDORE, "candidate")] == [f"{MIRROR}/guide.pdf#page=3"]
    corpus = mini.root / MIRROR / "corpus/test-00000-of-00001.parquet"
    assert mini.rejected[0].startswith(f"{corpus} row 2: image gone.png: not in {corpus.parent}")


def test_a_folder_of_pages_is_listed_once_whatever_the_number_of_rows(
    mini: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, real = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or real(path))
    names = [f"{number}.png" for number in range(30)]
    triple(
        mini, MIRROR, "test",
        [{"query-id": "q", "query": "x"}],
        [{"corpus-id": name, "image": {"bytes": None, "path": name}} for name in names],
        judged(("q", "0.png", 1)),
    )  # fmt: skip
    for name in names:
        mini.file(f"{MIRROR}/{name}")
    assert len(mini.read(VIDORE, "candidate")) == 30
    assert len(listed) < 10


def test_exported_pages_of_visrag_have_shortened_names(mini: Any) -> None:
    key = "x" * 116 + ".jpg"
    entry = TASKS["VisRAG_ChartQA"]
    for part, rows in (
        ("queries", [{"query-id": "q", "query": "x"}]),
        ("corpus", [{"corpus-id": key}]),
        ("qrels", judged(("q", key, 1))),
    ):
        mini.parquet(f"VisRAG-Ret-Test-ChartQA/{part}/train-00000-of-00001.parquet", rows)
    name = beir.page_file("visrag", key)
    assert name == "x" * 50 + "_5a887099.jpg"
    mini.file(f"visdoc-tasks/VisRAG_ChartQA/{name}")
    (row,) = mini.read(entry, "candidate")
    assert (row["id"], row["image"]) == (key, f"visdoc-tasks/VisRAG_ChartQA/{name}")


def test_a_language_filter(mini: Any) -> None:
    triple(
        mini,
        MIRROR,
        "test",
        [
            {"query-id": 1, "query": "one", "language": "english"},
            {"query-id": 2, "query": "un", "language": "french"},
        ],
        [{"corpus-id": "a", "image": {"bytes": b"x", "path": None}}],
        judged((1, "a", 1), (2, "a", 1)),
    )
    rows = mini.read({**VIDORE, "language_filter": "french"}, "query")
    assert [row["id"] for row in rows] == ["2"]


def jsonl(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_beir_folder(mini: Any) -> None:
    mini.file("queries.jsonl", jsonl({"_id": "q1", "text": "who?"}, {"_id": "q2", "text": "why?"}))
    mini.file(
        "corpus.jsonl",
        jsonl(
            {"_id": "d1", "title": "Me", "text": "It was me.", "metadata": {}},
            {"_id": "d2", "title": "", "text": "So."},
            {"_id": "d3", "image": "p.png"},
            {"_id": "d4"},
        ),
    )
    mini.file("p.png")
    qrels = mini.file(
        "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\nq2\td1\tx\n"
    )
    entry = {"name": "mine", "parser": "beir", "eval_type": "global"}
    assert mini.read(entry, "query") == [
        {"id": "q1", "dataset": "mine", "role": "query", "text": "who?", "relevant": {"d1": 2.0}},
        {"id": "q2", "dataset": "mine", "role": "query", "text": "why?", "relevant": {"d3": 1.0}},
    ]
    assert mini.read(entry, "candidate") == [
        {"id": "d1", "dataset": "mine", "role": "candidate", "text": "Me It was me."},
        {"id": "d2", "dataset": "mine", "role": "candidate", "text": "So."},
        {"id": "d3", "dataset": "mine", "role": "candidate", "text": "<image>", "image": "p.png"},
    ]
    assert mini.rejected == [
        f"{qrels} line 5: the score 'x' is no number",
        f"{mini.root}/corpus.jsonl line 4: the row has neither text nor picture",
    ]


def test_missing_parts_are_named(mini: Any) -> None:
    with pytest.raises(MissingError, match=r"no qrels of the split 'test' in .*; looked for qrels/test\.tsv"):
        mini.read({"name": "mine", "parser": "beir"}, "query")
    with pytest.raises(MissingError, match="ViDoRe_docvqa, qrels: no annotations") as raised:
        mini.read(VIDORE, "query")
    assert (
        raised.value.hint
        == "they are the dataset vidore/docvqa_test_subsampled_beir on the hub, config qrels"
    )
