from typing import Any

import pytest

from vlm2vec_cli import catalogue
from vlm2vec_cli.readers.video_qa import unlettered

TASKS = catalogue.tasks()
PROMPT = (
    "<video> Given a video and a question, select the most accurate answer from the provided candidates. "
    "Return only the exact text of your chosen answer. Question:  "
)
CASES = {
    "MVBench": (
        {"question": "What moves?", "video": "a.mp4", "candidates": ["cat", "dog"], "answer": "dog"},
        "object_shuffle/a.mp4",
        "What moves?\nOptions:\n(A) cat\n(B) dog",
        [("(A) cat", "(A) cat"), ("(B) dog", "(B) dog")],
        "(B) dog",
    ),
    "NExTQA": (
        {"video": 17, "question": "what moves", "answer": 3, **{f"a{n}": f"thing {n} " for n in range(5)}},
        "17",
        "what moves\nOptions:\n(A) thing 0 \n(B) thing 1 \n(C) thing 2 \n(D) thing 3 \n(E) thing 4",
        [(f"thing {n} ", f"thing {n} ") for n in range(5)],
        "thing 3 ",
    ),
    "Video-MME": (
        {"question": "Which?", "videoID": "xY", "options": ["A. Left.", "B. Right. Or so."], "answer": "B"},
        "xY",
        "Which?\nA. Left.\nB. Right. Or so.",
        [("A. Left.", "Left"), ("B. Right. Or so.", "Right. Or so")],
        "B. Right. Or so.",
    ),
    "EgoSchema": (
        {"question": "Why?", "video_idx": "abc", "option": ["A. Tea.", "B. Work"], "answer": "0"},
        "abc",
        "Why?A. Tea. B. Work",
        [("A. Tea.", "Tea"), ("B. Work", "Work")],
        "A. Tea.",
    ),
    "ActivityNetQA": (
        {"video_name": "q1", "question": "is it day", "answer": "no"},
        "v_q1",
        "is it day? (A) yes; (B) no.",
        [("yes", "yes"), ("no", "no")],
        "no",
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_five_ways_to_print_a_question(mini: Any, name: str) -> None:
    row, video, text, candidates, right = CASES[name]
    entry = TASKS[name]
    if "subsets" in entry:
        entry = {**entry, "subsets": ["object_shuffle"]}
        mini.parquet(f"annotations/{name}/object_shuffle/train-00000-of-00001.parquet", [row])
    else:
        mini.parquet(f"annotations/{name}/test-00000-of-00001.parquet", [row])
    mini.file(f"{entry['local']['frame_root']}/{video}/0000.jpeg")
    (query,) = mini.read(entry, "query")
    assert query["text"] == PROMPT + text
    assert query["video"] == f"{entry['local']['frame_root']}/{video}/"
    assert query["relevant"] == {right: 1.0}
    assert query["pool"] == [key for key, _ in candidates]
    assert [(row["id"], row["text"]) for row in mini.read(entry, "candidate")] == candidates
    assert mini.rejected == []


def test_rows_of_subsets_are_counted_through(mini: Any) -> None:
    entry = {**TASKS["MVBench"], "subsets": ["one", "two"]}
    row = CASES["MVBench"][0]
    for subset in ("one", "two"):
        mini.parquet(f"annotations/MVBench/{subset}/train-00000-of-00001.parquet", [row])
        mini.file(f"video-tasks/frames/video_qa/MVBench/{subset}/a.mp4/0.jpg")
    assert [row["id"] for row in mini.read(entry, "query")] == ["1", "2"]


def test_an_answer_that_is_no_option_is_a_bad_row(mini: Any) -> None:
    row = {**CASES["Video-MME"][0], "answer": "C"}
    path = mini.parquet("annotations/Video-MME/test-00000-of-00001.parquet", [row])
    mini.file("video-tasks/frames/video_qa/Video-MME/xY/0.jpg")
    assert mini.read(TASKS["Video-MME"], "query") == []
    assert mini.rejected == [f"{path} row 1: answer: expected A to B, got 'C'"]


def test_an_option_without_a_letter_is_all_text() -> None:
    assert unlettered("Left of it.") == "Left of it"
