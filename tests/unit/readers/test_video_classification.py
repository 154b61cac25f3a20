import json
from typing import Any

from vlm2vec_cli import catalogue

TASKS = catalogue.tasks()


def test_labels_of_the_rows_come_first_then_the_rest_of_the_list(mini: Any) -> None:
    rows = [{"video_id": f"v{n}", "pos_text": label} for n, label in enumerate(("tea", "coffee", "tea"))]
    mini.file("video-tasks/data/breakfast.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    for n in range(3):
        mini.file(f"video-tasks/frames/video_cls/Breakfast/v{n}/frame_0001.jpg")
    queries = mini.read(TASKS["Breakfast"], "query")
    assert queries[0] == {
        "id": "1",
        "dataset": "Breakfast",
        "role": "query",
        "text": "<video> Recognize the breakfast type that the person is cooking in the video. ",
        "video": "video-tasks/frames/video_cls/Breakfast/v0/",
        "relevant": {"tea": 1.0},
        "modality": "video",
        "task_type": "video classification",
        "group": "V-CLS",
        "main_metric": "hit@1",
    }
    candidates = [row["id"] for row in mini.read(TASKS["Breakfast"], "candidate")]
    labels = catalogue.label_set("Breakfast")
    assert candidates == ["tea", "coffee", *(one for one in labels if one not in ("tea", "coffee"))]
    assert len(candidates) == 10


def test_something_something_ranks_a_pool_of_its_own(mini: Any) -> None:
    row = {
        "video_id": "9",
        "pos_text": "holding cup",
        "neg_text": ["moving cup", "holding cup", "moving cup"],
    }
    path = mini.parquet(
        "annotations/SmthSmthV2/test-00000-of-00001.parquet", [row, {**row, "pos_text": "eating"}]
    )
    mini.file("video-tasks/videos/video_cls/SSv2/9.webm")
    (query,) = mini.read(TASKS["SmthSmthV2"], "query")
    assert query["pool"] == ["moving cup", "holding cup", "moving cup"]
    assert query["video"] == "video-tasks/videos/video_cls/SSv2/9.webm"
    assert mini.rejected == [f"{path} row 2: neg_text: the row's pool lacks its pos_text 'eating'"]
    rows = mini.read(TASKS["SmthSmthV2"], "candidate")
    assert [(row["id"], row["text"]) for row in rows] == [
        ("moving cup", "moving cup"),
        ("holding cup", "holding cup"),
    ]


def test_a_line_that_is_no_row_is_rejected_with_its_number(mini: Any) -> None:
    path = mini.file(
        "video-tasks/data/hmdb51.jsonl", '{"video_id": "a", "pos_text": "run"}\n[1]\n{"video_id": "b"}\n'
    )
    mini.file("video-tasks/frames/video_cls/HMDB51/a/0.jpg")
    assert len(mini.read(TASKS["HMDB51"], "query")) == 1
    assert mini.rejected == [
        f"{path} line 2: expected a JSON object",
        f"{path} line 3: no field 'pos_text'",
    ]
