"""LLaVA-Hound: captions, clips to retrieve and questions become the rows that their description asks for."""

from pathlib import Path

import pytest

import raw_sets
from sources import pair, prepared
from vlm2vec_cli import catalogue


def test_llava_hound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw_sets.llava_hound(tmp_path)
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
