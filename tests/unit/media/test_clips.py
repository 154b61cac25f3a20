import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media import MediaPolicy, clips
from vlm2vec_cli.media.sampling import Window, from_raw

Clip = Callable[..., bytes]
POLICY = MediaPolicy()


@pytest.fixture(params=["decord and av", "decord", "av"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with each of the decoders that are installed, alone and together."""
    library = clips._library
    for name in request.param.split(" and "):
        if library(name) is None:
            pytest.skip(f"{name} is not installed")  # decord has no wheels for some platforms

    def only(name: str) -> Any:
        return library(name) if name in request.param.split(" and ") else None

    monkeypatch.setattr(clips, "_library", only)
    return str(request.param)


def shades(frames: list[Image.Image]) -> list[int]:
    """Frame numbers, read from the grey of the lower right corner."""
    return [round(frame.getpixel((frame.width - 2, frame.height - 2))[1] / 8) for frame in frames]  # type: ignore[index]


def decode(
    source: str | bytes, num_frames: int | None = 8, window: Window | None = None
) -> list[Image.Image]:
    return clips.decode(source, window=window, num_frames=num_frames, policy=POLICY)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
@pytest.mark.parametrize("num_frames", [1, 2, 8, 29, 30, 64, None])
def test_the_frames_are_those_of_the_reference(
    backend: str, clip: Clip, tmp_path: Path, suffix: str, num_frames: int | None
) -> None:
    content = clip(suffix=suffix)
    path = tmp_path / f"it's a #1 clip, ü{suffix}"
    path.write_bytes(content)
    for source in (str(path), content):
        frames = decode(source, num_frames)
        assert shades(frames) == from_raw(30, num_frames, 64)
        assert {(frame.mode, frame.size) for frame in frames} == {("RGB", (64, 32))}


@pytest.mark.parametrize("num_frames", [1, 3, 8])
def test_a_long_video_stands_for_its_extracted_frames(backend: str, clip: Clip, num_frames: int) -> None:
    policy = MediaPolicy(max_video_frames=10)
    frames = clips.decode(clip(), window=None, num_frames=num_frames, policy=policy)
    extracted = [int(np.floor(i * 30 / 10)) for i in range(10)]
    assert shades(frames) == [extracted[int(at)] for at in np.linspace(0, 9, num_frames)]


@pytest.mark.parametrize(
    ("window", "numbers"),
    [
        ((1.0, 2.0), range(10, 20)),
        ((0.0, 0.5), range(0, 5)),
        ((None, 0.5), range(0, 5)),
        ((2.5, None), range(25, 30)),
        ((2.5, 99.0), range(25, 30)),
        ((1.01, 1.02), [10]),
        ((2.95, 2.99), [29]),
        ((0.0, None), range(0, 30)),
    ],
)
def test_a_window_is_in_seconds_and_open_at_its_end(
    backend: str, clip: Clip, window: Window, numbers: range | list[int]
) -> None:
    assert shades(decode(clip(), None, window)) == list(numbers)


def test_a_window_behind_the_end_is_bad_data(backend: str, clip: Clip) -> None:
    with pytest.raises(DataError, match="the window begins at 3 s, the video ends at 3 s"):
        decode(clip(), 8, (3.0, None))


@pytest.mark.parametrize(("turn", "corner"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (270, (0, 1))])
def test_turned_videos_are_shown_upright(
    backend: str, clip: Clip, turn: int, corner: tuple[int, int]
) -> None:
    frame = decode(clip(num_frames=2, turn=turn), 1)[0]
    assert frame.size == ((32, 64) if turn % 180 else (64, 32))
    reddish = [
        place
        for place in ((0, 0), (1, 0), (0, 1), (1, 1))
        if frame.getpixel((frame.width * (1 + 2 * place[0]) // 4, frame.height * (1 + 2 * place[1]) // 4))[0]
        > 128  # type: ignore[index]
    ]
    assert reddish == [corner]


def test_streams_without_time_stamps_are_counted(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    library = clips._library
    monkeypatch.setattr(clips, "_library", lambda name: library(name) if name == "av" else None)
    content = clip(suffix=".m4v")  # a bare stream
    assert shades(decode(content, 4)) == from_raw(30, 4, 64)


def broken(clip: Clip, sound: bytes) -> dict[str, bytes]:
    whole = clip()
    return {
        "no video": sound,
        "cut": whole[: len(whole) // 2],
        "rubbish": b"hello world" * 100,
        "header only": whole[:24],
        "damaged": whole[:300] + bytes(200) + whole[500:],
    }


@pytest.mark.parametrize("name", ["no video", "cut", "rubbish", "header only"])
def test_broken_videos_are_bad_data_and_nothing_is_printed(
    backend: str, clip: Clip, sound: bytes, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content = broken(clip, sound)[name]
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    capfd.readouterr()
    for source in (str(path), content):
        with pytest.raises(DataError) as caught:
            decode(source)
        assert "\n" not in caught.value.fact
    assert capfd.readouterr() == ("", "")


def test_sound_alone_is_named(clip: Clip, sound: bytes) -> None:
    with pytest.raises(DataError, match=r"has no video stream \(only audio\)"):
        decode(sound)


def test_frames_that_are_needed_and_damaged_are_never_replaced(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = clips._library
    monkeypatch.setattr(clips, "_library", lambda name: library(name) if name == "av" else None)
    whole = clip()
    middle = whole.index(b"mdat") + len(whole) // 4
    with pytest.raises(DataError, match="cannot be decoded"):
        decode(whole[:middle] + bytes(120) + whole[middle + 120 :], None)


def test_frame_sizes_are_limited(backend: str, clip: Clip) -> None:
    with pytest.raises(DataError, match="has 64 x 32 pixels a frame, more than 1,000"):
        clips.decode(clip(), window=None, num_frames=2, policy=MediaPolicy(max_pixels=1000))


def test_no_file_is_left_open(backend: str, clip: Clip, sound: bytes, tmp_path: Path) -> None:
    def num_open() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    sources = {"fine": clip(), **broken(clip, sound)}

    def decode_all() -> None:
        for name, content in sources.items():
            (tmp_path / f"{name}.mp4").write_bytes(content)
            try:
                decode(str(tmp_path / f"{name}.mp4"))
            except DataError:
                assert name != "fine"

    decode_all()
    before = num_open()
    for _ in range(3):
        decode_all()
    assert num_open() == before


def test_without_a_decoder_the_remedy_is_named(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_library", lambda _: None)
    with pytest.raises(UnavailableError) as caught:
        decode(clip())
    assert (caught.value.fact, caught.value.hint) == ("videos need decord or PyAV", "pip install av")
