"""All 78 tasks and every training source: raw files in, exactly the rows that their description asks for."""

from pathlib import Path
from typing import Any

import pytest

import raw_data
from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.preparing.plan import plan
from vlm2vec_cli.preparing.request import Request

TASKS = raw_data.expected()
VISRAG_PLOT = (
    "This query relates to retrieving a relevant plot or chart that visually represents numerical data. The "
    "retrieved figure should contain the necessary information to analyze trends, compare values, or extract "
    "key insights related to the query: "
)
VISRAG_TEXTBOOK = (
    "This query is related to a college-level textbook, which provides structured explanations, definitions, "
    "and examples. Find the most relevant concepts or explanations that address the query: "
)


def never(error: UserError) -> None:
    raise error


def prepared(root: Path, source: str, **asked: Any) -> list[dict[str, Any]]:
    asked = {"root": str(root), **asked}
    return list(plan(Request(source, **asked)).rows(root, never))


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
    raw_data.mmeb_v2(tmp_path, task)
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


def pair(dataset: str, number: str, query: Any, positive: Any, *negatives: Any) -> dict[str, Any]:
    return {
        "id": number,
        "dataset": dataset,
        "query": query,
        "positive": positive,
        "negatives": list(negatives),
    }


def test_mmeb_train(tmp_path: Path) -> None:
    raw_data.mmeb_train(tmp_path)
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
    raw_data.hard_negatives(tmp_path)
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


def test_llava_hound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw_data.llava_hound(tmp_path)
    clip = {name: f"train_300k/v_{name}/" for name in ("a-Scene-001", "b-Scene-002", "c-Scene-003")}
    wanted = "Find a video that contains the following visual content: "
    answered = "Answer a question based on the content of a video. <video>\n"
    target = "Understand the content of the provided video: <video>"
    caption, video, qa = catalogue.train_sources("llava-hound")
    assert prepared(tmp_path, "llava-hound") == [
        pair(
            caption,
            "1",
            {"text": "<video>\nDescribe the clip.", "video": clip["a-Scene-001"]},
            {"text": "A dog runs."},
        ),
        pair(
            caption,
            "3",
            {"text": "What is shown?\n<video>", "video": clip["b-Scene-002"]},
            {"text": "Two cats."},
        ),
        pair(video, "1", {"text": f"{wanted}A dog runs."}, {"text": target, "video": clip["a-Scene-001"]}),
        pair(video, "3", {"text": f"{wanted}Two cats."}, {"text": target, "video": clip["b-Scene-002"]}),
        pair(qa, "1", {"text": f"{answered}Who sings?", "video": clip["c-Scene-003"]}, {"text": "A child."}),
        pair(qa, "2", {"text": f"{answered}Where?", "video": clip["c-Scene-003"]}, {"text": "On a stage."}),
    ]


def test_colpali(tmp_path: Path) -> None:
    raw_data.colpali(tmp_path)
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
    raw_data.visrag(tmp_path)
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


def test_the_first_mmeb(tmp_path: Path) -> None:
    raw_data.mmeb_eval(tmp_path)
    facts = {"modality": "image", "main_metric": "hit@1"}
    voc = {
        "dataset": "VOC2007",
        "role": "query",
        **facts,
        "group": "I-CLS",
        "task_type": "image classification",
    }
    coco = {"dataset": "MSCOCO_t2i", "role": "query", **facts, "group": "I-RET",
            "task_type": "text-to-image retrieval"}  # fmt: skip
    shown = "<image>\nRepresent the given image.\n"
    keys = [f"MSCOCO/Test/{number}.jpg:<|image_1|>\nRepresent the given image.\n" for number in (1, 2)]
    assert prepared(tmp_path, "mmeb-eval") == [
        {**voc, "id": "1", "text": "<image>\nIdentify the object shown in the image\n",
         "image": "images.zip!images/VOC2007/Test/1.jpg", "relevant": {"cat": 1.0},
         "pool": ["cat", "dog", "<blank>"]},
        *({"id": key, "dataset": "VOC2007", "role": "candidate", "text": text}
          for key, text in (("cat", "cat"), ("dog", "dog"), ("<blank>", ""))),
        {**coco, "id": "1", "text": "Find me an everyday image that matches the given caption: a cat\n",
         "relevant": {keys[0]: 1.0}, "pool": keys},
        *({"id": key, "dataset": "MSCOCO_t2i", "role": "candidate", "text": shown,
           "image": f"images.zip!images/MSCOCO/Test/{number}.jpg"}
          for number, key in enumerate(keys, start=1)),
    ]  # fmt: skip
    assert len(catalogue.first_tasks()) == 36
