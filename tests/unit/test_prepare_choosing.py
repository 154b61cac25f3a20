"""Which datasets and which rows: selection, samples, published mixes."""

import logging
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

import raw_data
import raw_sets
import raw_tasks
from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import UsageError, UserError
from vlm2vec_cli.preparing.choose import chosen
from vlm2vec_cli.preparing.plan import plan
from vlm2vec_cli.preparing.request import Request
from vlm2vec_cli.streams.blocks import Block

TASKS = catalogue.tasks()


def never(error: UserError) -> None:
    raise error


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"modality": "image"}, 36),
        ({"modality": "video"}, 18),
        ({"modality": "visdoc"}, 24),
        ({"domain": "in"}, 30),
        ({"domain": "out"}, 48),
        ({"domain": "in", "modality": "image"}, 20),
        ({"task_type": "retrieval"}, 12 + 5 + 3 + 24),
        ({"task_type": "classification"}, 15),
        ({"task_type": "I-QA"}, 10),
        ({"task_type": "v-*", "modality": "video"}, 18),
        ({"task_type": "grounding"}, 4),
        ({"names": ("MSCOCO*",)}, 3),
        ({"names": ("MSCOCO*", "K700"), "modality": "video"}, 1),
    ],
)
def test_tasks_are_chosen_by_what_they_are(asked: dict[str, Any], count: int) -> None:
    found = chosen(TASKS, Request("mmeb-v2", **asked))
    assert len(found) == count
    names = [one["name"] for one in found]
    assert names == [name for name in TASKS if name in names]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"modality": "imge"}, "--modality: no dataset with 'imge'"),
        ({"task_type": "retreival"}, "--task-type: no dataset with 'retreival'"),
        ({"modality": "video", "domain": "in"}, "no dataset is all of what"),
        ({"names": ("MSCOCO-*",)}, "no dataset 'MSCOCO-\\*' in mmeb-v2"),
    ],
)
def test_what_chooses_nothing_is_said(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        chosen(TASKS, Request("mmeb-v2", **asked))


def subset(root: Path, order: list[int], shards: int) -> Path:
    """MMEB-train with forty questions over ten pictures, in this order, in so many files."""
    rows = [
        raw_sets.train_row(qry=f"<|image_1|>\nquestion {number}\n", pos_text=f"answer {number}",
                           qry_image_path=f"images/Mine/{number % 10}.jpg")
        for number in order
    ]  # fmt: skip
    for number in range(10):
        raw_data.put(root, f"images/Mine/{number}.jpg", b"x")
    size = len(rows) // shards
    for number in range(shards):
        part = rows[number * size : (number + 1) * size]
        raw_data.parquet(root, f"Mine/original-{number:05}-of-{shards:05}.parquet", part)
    return root


def sampled(root: Path, count: int, seed: int = 0) -> set[str]:
    request = Request("mmeb-train", root=str(root), names=("Mine",), sample=count, seed=seed)
    return {row["positive"]["text"] for row in plan(request).rows(root, never)}


def test_a_sample_does_not_depend_on_the_order_of_rows_and_files(tmp_path: Path) -> None:
    order = list(range(40))
    expected = sampled(subset(tmp_path / "a", order, 1), 7)
    assert len(expected) == 7
    Random(1).shuffle(order)
    assert sampled(subset(tmp_path / "b", order, 4), 7) == expected
    assert sampled(tmp_path / "b", 7, seed=1) != expected


def test_a_mix_has_caps_and_weights_that_make_datasets_count_as_published(tmp_path: Path) -> None:
    raw_sets.mmeb_train(tmp_path / "MMEB-train")
    raw_sets.llava_hound(tmp_path / "train_video_and_instruction")
    raw_sets.colpali(tmp_path / "colpali_train_set")
    raw_sets.visrag(tmp_path / "VisRAG-Ret-Train-In-domain-data")
    rows = list(plan(Request("mix", root=str(tmp_path))).rows(tmp_path, never))
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["dataset"]] = totals.get(row["dataset"], 0.0) + row["weight"]
    published = {
        "OK-VQA": 0.5, "VisDial": 1, "WebQA": 0.5, "MSCOCO": 1, "video_caption_300k": 5,
        "video_caption_300k-video": 5, "video_qa_240k": 5, "colpali_train_set": 10, "visrag-indomain": 12,
    }  # fmt: skip
    assert list(totals) == list(published)
    whole, there = sum(totals.values()), sum(published.values())
    assert whole == pytest.approx(len(rows))
    assert {name: total / whole for name, total in totals.items()} == pytest.approx(
        {name: weight / there for name, weight in published.items()}
    )


@pytest.mark.parametrize(
    ("source", "task", "said"),
    [
        ("mmeb-v2", "WebQA", ["WebQA: 2 rows have a picture token without a picture, embedded like a word",
                              "WebQA: 2 rows have a candidate twice in the query's pool, ranked twice"]),
        ("mmeb-v2", "VOC2007",
         ["VOC2007: 2 rows have a blank candidate in the query's pool, embedded as an empty text",
          "VOC2007: 2 rows have a candidate twice in the query's pool, ranked twice"]),
        ("mmeb-v2", "ViDoRe_docvqa", ["1 left out: ViDoRe_docvqa: query without a relevant candidate"]),
        ("mmeb-train", "WebQA",
         ["WebQA: 1 rows have a picture token without a picture, embedded like a word"]),
        ("mmeb-train", "OK-VQA", ["1 left out: OK-VQA: no text and no picture on one side"]),
    ],
)  # fmt: skip
def test_every_rule_is_counted_by_name(tmp_path: Path, source: str, task: str, said: list[str]) -> None:
    if source == "mmeb-v2":
        raw_tasks.mmeb_v2(tmp_path, task)
    else:
        raw_sets.mmeb_train(tmp_path)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("vlm2vec_cli.preparing.plan")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    list(plan(Request(source, root=str(tmp_path), names=(task,))).rows(tmp_path, never))
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)
    assert sorted(messages) == sorted(said)


def test_the_released_mixes_add_up() -> None:
    mixes = {name: catalogue.mix(name) for name in catalogue.MIXES}
    assert {name: len(one) for name, one in mixes.items()} == {
        "vlm2vec-v2": 25, "vlm2vec-v2-image": 20, "vlm2vec-v2-video": 3, "vlm2vec-v2-visdoc": 5,
    }  # fmt: skip
    shares = {name: one["share"] for name, one in mixes["vlm2vec-v2"].items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["ImageNet_1K"] == pytest.approx(1 / 52)
    assert shares["colpali_train_set"] == pytest.approx(10 / 52)
    assert shares["visrag-indomain"] == pytest.approx(12 / 52)


def test_rows_in_blocks_stand_before_the_bad_row_and_behind_it(tmp_path: Path) -> None:
    """Whatever happens to a bad row, the others keep their numbers and their order."""
    root = subset(tmp_path, list(range(40)), 1)
    (root / "images/Mine/3.jpg").unlink()
    todo = plan(Request("mmeb-train", root=str(root), names=("Mine",)))
    errors: list[UserError] = []
    pieces = list(todo.pieces(root, errors.append))
    assert all(isinstance(piece, Block) for piece in pieces)
    good = [number for number in range(40) if number % 10 != 3]
    assert [row["id"] for piece in pieces if isinstance(piece, Block) for row in piece.rows()] == [
        str(number + 1) for number in good
    ]
    assert [error.place.rsplit(" ", 1)[1] for error in errors] == ["4", "14", "24", "34"]
    taken: list[str] = []
    with pytest.raises(UserError, match=r"image images/Mine/3\.jpg: not in"):
        taken.extend(row["id"] for row in todo.rows(root, never))
    assert taken == ["1", "2", "3"]
    assert pq.read_table(root / "Mine/original-00000-of-00001.parquet").num_rows == 40
