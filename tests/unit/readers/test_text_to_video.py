import zipfile
from typing import Any

import pytest

from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import MissingError

TASKS = catalogue.tasks()
RAW = {
    "MSR-VTT": ({"video_id": "video7", "video": "video7.mp4", "caption": "a dog runs"}, "video7"),
    "MSVD": ({"video_id": "v_1", "video": "v_1.avi", "caption": ["a dog runs", "a cat"]}, "v_1"),
    "DiDeMo": ({"video": "12_34.mp4", "caption": "a dog runs"}, "12_34"),
    "YouCook2": ({"id": "xy_0", "video_path": "xy.mp4", "sentence": "a dog runs"}, "xy_0"),
    "VATEX": ({"videoID": "Ab_1_2", "enCap": ["a dog runs"]}, "Ab_1_2"),
}


@pytest.mark.parametrize("name", list(RAW))
def test_a_caption_asks_for_its_video(mini: Any, name: str) -> None:
    row, key = RAW[name]
    entry = TASKS[name]
    mini.parquet(f"annotations/{name}/{entry['hf']['split']}-00000-of-00001.parquet", [row, row])
    mini.file(f"{entry['local']['frame_root']}/{key}/frame_0001.jpg")
    queries = mini.read(entry, "query")
    assert queries[1] == {
        "id": "2",
        "dataset": name,
        "role": "query",
        "text": f"{entry['instruction']['query']} a dog runs",
        "relevant": {key: 1.0},
        "modality": "video",
        "task_type": "text-to-video retrieval",
        "group": "V-RET",
        "main_metric": "hit@1",
    }
    assert mini.read(entry, "candidate") == [
        {
            "id": key,
            "dataset": name,
            "role": "candidate",
            "text": "<video> Understand the content of the provided video.",
            "video": f"{entry['local']['frame_root']}/{key}/",
        }
    ]


@pytest.mark.parametrize(
    ("place", "reference"),
    [
        (
            "video-tasks/videos/video_ret/MSR-VTT/video7.mp4",
            "video-tasks/videos/video_ret/MSR-VTT/video7.mp4",
        ),
        (
            "video-tasks/frames/video_ret/data/ziyan/video_retrieval/MSR-VTT/frames/video7/0000.jpeg",
            "video-tasks/frames/video_ret/data/ziyan/video_retrieval/MSR-VTT/frames/video7/",
        ),
    ],
)
def test_other_places_of_videos(mini: Any, place: str, reference: str) -> None:
    mini.parquet("MSR-VTT/test_1k/test-00000-of-00001.parquet", [RAW["MSR-VTT"][0]])
    mini.file(place)
    assert mini.read(TASKS["MSR-VTT"], "candidate")[0]["video"] == reference


def test_frames_in_an_archive(mini: Any) -> None:
    mini.parquet("MSR-VTT/test_1k/test-00000-of-00001.parquet", [RAW["MSR-VTT"][0]])
    archive = mini.root / "video-tasks/frames/video_ret.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("video_ret/MSR-VTT/video7/frame_0001.jpg", b"x")
    expected = "video-tasks/frames/video_ret.zip!video_ret/MSR-VTT/video7/"
    assert mini.read(TASKS["MSR-VTT"], "candidate")[0]["video"] == expected


def test_the_number_of_frames_travels_when_it_is_not_the_usual_one(mini: Any) -> None:
    mini.parquet("annotations/MSR-VTT/test-00000-of-00001.parquet", [RAW["MSR-VTT"][0]])
    mini.file("video-tasks/videos/video_ret/MSR-VTT/video7.mp4")
    assert "num_frames" not in mini.read(TASKS["MSR-VTT"], "candidate")[0]
    assert mini.read(TASKS["MSR-VTT"], "candidate", num_frames=4)[0]["num_frames"] == 4
    assert mini.read({**TASKS["MSR-VTT"], "num_frames": 64}, "candidate")[0]["num_frames"] == 64
    assert "num_frames" not in mini.read(TASKS["MSR-VTT"], "query", num_frames=4)[0]


def test_missing_annotations_name_the_places_and_the_hub(mini: Any) -> None:
    with pytest.raises(MissingError) as raised:
        mini.read(TASKS["MSR-VTT"], "query")
    fact = str(raised.value)
    assert fact.startswith(
        f"MSR-VTT: no annotations of the split 'test' in {mini.root}; looked in annotations/"
    )
    assert raised.value.hint == "they are the dataset VLM2Vec/MSR-VTT on the hub, config test_1k"


def test_a_missing_video_is_rejected_with_its_row(mini: Any) -> None:
    path = mini.parquet("annotations/MSR-VTT/test-00000-of-00001.parquet", [RAW["MSR-VTT"][0]])
    assert mini.read(TASKS["MSR-VTT"], "candidate") == []
    assert mini.rejected[0].startswith(f"{path} row 1: video video7: not in {mini.root}/video-tasks/frames")


def test_videos_that_nothing_asks_for_are_candidates_too(mini: Any) -> None:
    row = RAW["MSR-VTT"][0]
    mini.parquet("annotations/MSR-VTT/test-00000-of-00001.parquet", [row])
    more = [{"video_id": name, "video": f"{name}.mp4"} for name in ("video8", "video7")]
    mini.parquet("annotations/MSR-VTT/corpus-00000-of-00001.parquet", more)
    for name in ("video7", "video8"):
        mini.file(f"video-tasks/videos/video_ret/MSR-VTT/{name}.mp4")
    assert [query["id"] for query in mini.read(TASKS["MSR-VTT"], "query")] == ["1"]
    assert [row["id"] for row in mini.read(TASKS["MSR-VTT"], "candidate")] == ["video7", "video8"]
