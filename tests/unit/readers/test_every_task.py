"""All 78 tasks, MMEB-train and its mined negatives: raw files become the rows that are asked for."""

from pathlib import Path
from typing import Any

import pytest

import raw_sets
import raw_tasks
from sources import pair, prepared
from vlm2vec_cli import catalogue

TASKS = raw_tasks.expected()


def query_rows(task: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"dataset": task, "role": "query", **facts["facts"], **row} for row in facts["queries"]]


def candidate_rows(task: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"dataset": task, "role": "candidate", **row} for row in facts["candidates"]]


def test_there_is_a_miniature_of_every_task() -> None:
    assert list(TASKS) == list(catalogue.tasks())
    assert len(TASKS) == 78


@pytest.mark.parametrize("task", TASKS)
def test_a_task_of_the_benchmark(tmp_path: Path, task: str) -> None:
    facts = TASKS[task]
    raw_tasks.mmeb_v2(tmp_path, task)
    rows = prepared(tmp_path, "mmeb-v2", names=(task,))
    asked = query_rows(task, facts)
    assert rows[: len(asked)] == asked
    found = rows[len(asked) :]
    if isinstance(facts["candidates"], list):
        assert found == candidate_rows(task, facts)
    else:
        assert [row["id"] for row in found[:3]] == facts["candidates"]["first"]
        assert len(found) == facts["candidates"]["count"]
        assert all(
            row == {"dataset": task, "role": "candidate", "id": row["id"], "text": row["id"]} for row in found
        )


def test_mmeb_train(tmp_path: Path) -> None:
    raw_sets.mmeb_train(tmp_path)
    kettle = "images/OK-VQA/Train/OK-VQA_image_17.jpg"
    question = "<image>\nRepresent the given image with the following question: "
    dialogue = "Represent the given dialogue about an image, which is used for image retrieval: "
    dialogue += "Q:is it sunny\nA:no\n"
    shown = "<image>\nRepresent the given image\n"
    assert prepared(tmp_path, "mmeb-train") == [
        pair("OK-VQA", "1", {"text": f"{question}What colour is the kettle?\n", "image": kettle},
             {"text": "copper"}, {"text": "two bicycles"}),
        pair("OK-VQA", "3", {"text": f"{question}Where?\n", "image": kettle}, {"text": "kitchen"}),
        pair("VisDial", "1", {"text": dialogue},
             {"text": shown, "image": "images/VisDial/Train/VisDial_image_5.jpg"},
             {"text": shown, "image": "images/VisDial/Train/VisDial_image_99.jpg"}),
        pair("WebQA", "1",
             {"text": "<image>\nFind a Wikipedia image that answers this question: "
              "Which tower leans more?\n"},
             {"text": "<image>\nRepresent the given Wikipedia image with related text information: A leaning "
              "tower.\n", "image": "images/WebQA/Train/30009999.jpg"}),
        pair("MSCOCO", "1",
             {"text": '<image>\nSelect the portion of the image that isolates the object labeled as "cat"\n',
              "image": kettle},
             {"text": "<image>\nRepresent the given cropped image of the object",
              "image": "images/MSCOCO/Train/a cat's \u00e9tui.jpg"}),
    ]  # fmt: skip
    (diverse,) = prepared(tmp_path, "mmeb-train", names=("OK-VQA",), split="diverse_instruction")
    assert diverse["query"] == {"text": "Use <image> to answer: Where?", "image": kettle}


def test_mined_negatives(tmp_path: Path) -> None:
    raw_sets.hard_negatives(tmp_path)
    shown = "<image>\nRepresent the given image.\n"
    crops = [f"MMEB-train/images/CIRR/Train/{number}.jpg" for number in range(4)]
    assert prepared(tmp_path, "hard-negatives") == [
        pair("OK-VQA", "1",
             {"text": "<image>\nRepresent the given image with the following question: Where?\n",
              "image": "MMEB-train/images/OK-VQA/Train/1.jpg"},
             {"text": "kitchen"}, {"text": "garden"}, {"text": "street"}),
        pair("CIRR", "1",
             {"text": "<image>\nGiven an image, find a similar everyday image with the described changes: "
              "wet\n",
              "image": crops[0]},
             {"text": shown, "image": crops[1]},
             {"text": shown, "image": crops[2]}, {"text": shown, "image": crops[3]}),
    ]  # fmt: skip
