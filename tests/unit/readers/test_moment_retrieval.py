from typing import Any

from vlm2vec_cli import catalogue

ENTRY = catalogue.tasks()["QVHighlight"]
TOP = "video-tasks/frames/video_mret/QVHighlight"


def test_every_folder_beside_the_query_is_a_clip(mini: Any) -> None:
    mini.parquet(
        "annotations/QVHighlight/test-00000-of-00001.parquet",
        [{"query": "he waves", "video_path": "x/v1.mp4"}],
    )
    for folder in ("query", "positive_1", "negative_10", "negative_2"):
        mini.file(f"{TOP}/v1/{folder}/0.jpg")
    (query,) = mini.read(ENTRY, "query")
    assert query == {
        "id": "1",
        "dataset": "QVHighlight",
        "role": "query",
        "text": "<video> Find the clip that corresponds to the described scene in the given video: he waves",
        "video": f"{TOP}/v1/query/",
        "relevant": {"v1/positive_1": 1.0},
        "pool": ["v1/negative_10", "v1/negative_2", "v1/positive_1"],
        "modality": "video",
        "task_type": "moment retrieval",
        "group": "V-MRET",
        "main_metric": "hit@1",
    }
    assert mini.read(ENTRY, "candidate")[0] == {
        "id": "v1/negative_10",
        "dataset": "QVHighlight",
        "role": "candidate",
        "text": "<video> Understand the content of the provided video.",
        "video": f"{TOP}/v1/negative_10/",
    }


def test_the_flat_layout_lists_a_clips_frames(mini: Any) -> None:
    mini.parquet(
        "annotations/QVHighlight/test-00000-of-00001.parquet", [{"query": "a", "video_path": "v1.mp4"}]
    )
    names = ("query/0.jpg", "positive_002.jpg", "positive_010.jpg", "negative_1_000.jpg", "notes.txt")
    for name in names:
        mini.file(f"{TOP}/v1/{name}")
    (query,) = mini.read(ENTRY, "query")
    assert query["pool"] == ["v1/negative_1", "v1/positive"]
    videos = {row["id"]: row["video"] for row in mini.read(ENTRY, "candidate")}
    assert videos == {
        "v1/negative_1": [f"{TOP}/v1/negative_1_000.jpg"],
        "v1/positive": [f"{TOP}/v1/positive_002.jpg", f"{TOP}/v1/positive_010.jpg"],
    }


def test_a_folder_without_a_right_clip_is_a_bad_row(mini: Any) -> None:
    path = mini.parquet(
        "annotations/QVHighlight/test-00000-of-00001.parquet", [{"query": "a", "video_path": "v1.mp4"}]
    )
    mini.file(f"{TOP}/v1/query/0.jpg")
    assert mini.read(ENTRY, "query") == []
    assert mini.rejected == [f"{path} row 1: {TOP}/v1/: no clip whose name starts with 'positive'"]
