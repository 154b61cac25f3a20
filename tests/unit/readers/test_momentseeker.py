from typing import Any

from vlm2vec_cli import catalogue

ENTRY = catalogue.tasks()["MomentSeeker"]
TOP = "video-tasks/frames/video_mret/MomentSeeker"


def clips(*names: str) -> list[dict[str, str]]:
    return [{"output_path": f"clips/f3/{name}.mp4"} for name in names]


def test_the_three_kinds_of_query(mini: Any) -> None:
    given = {"query": "he waves", "positive_frames": clips("p0", "p1"), "negative_frames": clips("n0", "p0")}
    mini.parquet(
        "annotations/MomentSeeker/test-00000-of-00001.parquet",
        [
            {**given, "input_frames": ""},
            {**given, "input_frames": "images/f3/x.jpg"},
            {**given, "input_frames": "films/f3.mp4"},
        ],
    )
    for name in ("clips_f3_p0", "clips_f3_p1", "clips_f3_n0", "films_f3"):
        mini.file(f"{TOP}/video_frames/{name}/0.jpg")
    mini.file(f"{TOP}/query_images/f3/x.jpg")
    text, picture, video = mini.read(ENTRY, "query")
    assert text["text"] == "Find the clip that corresponds to the given text: he waves"
    assert text["relevant"] == {"clips_f3_p0": 1.0, "clips_f3_p1": 1.0}
    assert text["pool"] == ["clips_f3_p0", "clips_f3_p1", "clips_f3_n0", "clips_f3_p0"]
    assert (
        picture["text"] == "<image> Select the video clip that aligns with the given text and image: he waves"
    )
    assert picture["image"] == f"{TOP}/query_images/f3/x.jpg"
    expected = "<video> Find the clip that corresponds to the given sentence and video segment: he waves"
    assert video["text"] == expected
    assert video["video"] == f"{TOP}/video_frames/films_f3/"
    assert mini.read(ENTRY, "candidate")[2] == {
        "id": "clips_f3_n0",
        "dataset": "MomentSeeker",
        "role": "candidate",
        "text": "<video> Understand the content of the provided video clip.",
        "video": f"{TOP}/video_frames/clips_f3_n0/",
    }
    assert mini.rejected == []


def test_a_row_without_a_positive_is_bad(mini: Any) -> None:
    path = mini.parquet(
        "annotations/MomentSeeker/test-00000-of-00001.parquet",
        [{"query": "q", "input_frames": "", "positive_frames": None, "negative_frames": clips("n0")}],
    )
    assert mini.read(ENTRY, "query") == []
    assert mini.rejected == [f"{path} row 1: positive_frames: the row has no positive"]
