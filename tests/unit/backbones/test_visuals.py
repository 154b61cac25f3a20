"""Each distinct reference is decoded once while somebody holds its visual."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlm2vec_cli.backbones import Limits
from vlm2vec_cli.backbones._visuals import Visuals
from vlm2vec_cli.engine import pixels
from vlm2vec_cli.errors import MissingError

LIMITS = Limits(min_pixels=3136, max_pixels=99999, num_frames=4)


class Media:
    """Counts what is read; `gone.png` is not there."""

    def __init__(self) -> None:
        self.read: list[Any] = []
        self.go = threading.Event()
        self.go.set()

    def image(self, ref: str, root: Path, *, first: Any = None) -> Image.Image:
        self.read.append(ref)
        assert self.go.wait(10)
        if ref == "gone.png":
            raise MissingError("not there")
        return (first or Image.Image.copy)(Image.new("RGB", (56, 56)))

    def frames(self, video: Any, root: Path, *, num_frames: int) -> list[Image.Image]:
        self.read.append((video, num_frames))
        return [Image.new("RGB", (56, 56))] * num_frames


def made() -> tuple[Visuals, Any]:
    visuals = Visuals(
        lambda one: pixels.picture(one, 3136, 99999), lambda some: pixels.clip(some, 3136, 99999)
    )
    return visuals, Media()


def test_once_while_it_is_held() -> None:
    visuals, media = made()
    held = visuals.images({"image": ["a.png", "b.png", "a.png"]}, Path(), media, LIMITS)
    assert held[0] is held[2]
    assert visuals.images({"image": "a.png"}, Path("other"), media, LIMITS) is not held
    assert media.read == ["a.png", "b.png", "a.png"], "another root is another picture"
    del held
    visuals.images({"image": "a.png"}, Path(), media, LIMITS)
    assert len(media.read) == 4


def test_clips_by_their_references_and_number_of_frames() -> None:
    visuals, media = made()
    contents = [{"video": "v.mp4"}, {"video": ["1.png", "2.png"]}, {"video": "v.mp4"}, {"text": "a"}]
    held = [visuals.clips(content, Path(), media, LIMITS) for content in contents]
    held += [visuals.clips(contents[0], Path(), media, replace(LIMITS, num_frames=2))]
    assert media.read == [("v.mp4", 4), (["1.png", "2.png"], 4), ("v.mp4", 2)]
    assert held[0][0] is held[2][0]
    assert held[3] == []


def test_threads_wait_for_the_one_that_decodes() -> None:
    visuals, media = made()
    media.go.clear()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(visuals.images, {"image": "a.png"}, Path(), media, LIMITS) for _ in range(4)]
        media.go.set()
        found = [one.result()[0] for one in asked]
    assert media.read == ["a.png"]
    assert len({id(one) for one in found}) == 1


def test_an_error_is_everybodys_and_is_not_kept() -> None:
    visuals, media = made()
    for _ in range(2):
        with pytest.raises(MissingError, match="not there"):
            visuals.images({"image": "gone.png"}, Path(), media, LIMITS)
    assert len(media.read) == 2


def test_a_preset_is_done_first_and_is_another_visual() -> None:
    visuals, media = made()
    plain, squashed = (
        visuals.images({"image": "a.png"}, Path(), media, replace(LIMITS, resize=name))
        for name in (None, "low")
    )
    assert plain[0].grid == (1, 4, 4)
    assert squashed[0].grid == (1, 10, 10)
