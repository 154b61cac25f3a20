"""Frames of video files: decord where it is installed and succeeds, else PyAV.

Only the frames asked for are turned into pictures. PyAV, where present, reads the header first: it says
exactly what is wrong with a file that is no video, and frame sizes are known before anything is decoded.
"""

import importlib
import io
import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media.policy import MediaPolicy
from vlm2vec_cli.media.sampling import Window, from_raw, in_window

_STDERR = threading.Lock()


class _DecordFailed(Exception):
    """decord could not do it; PyAV gets its turn."""


def decode(
    source: str | bytes, *, window: Window | None, num_frames: int | None, policy: MediaPolicy
) -> list[Image.Image]:
    """`num_frames` RGB frames of a video file (a path) or of its content, in order.

    `window` is in seconds from the first frame, end excluded. Raises DataError where there is no video
    stream, no frame, no frame in the window, or a frame that cannot be decoded; UnavailableError without a
    decoder.
    """
    av, decord = _library("av"), _library("decord")
    if av is None and decord is None:
        raise UnavailableError("videos need decord or PyAV", hint="pip install av")
    if av is not None:
        _check_header(av, source, policy)
    if decord is not None:
        try:
            return _by_decord(decord, source, window, num_frames, policy, silent=av is not None)
        except _DecordFailed as error:
            if av is None:
                raise DataError(f"the video cannot be decoded: {error}") from error
    return _by_pyav(av, source, window, num_frames, policy)


def choose(
    starts: Sequence[float] | int, window: Window | None, num_frames: int | None, policy: MediaPolicy
) -> list[int]:
    """Indices of the frames to decode; `starts` as for `in_window`, or, without a window, their number."""
    first, total = (0, starts) if isinstance(starts, int) else in_window(starts, window or (None, None))
    if total == 0:
        raise DataError("the video has no frames")
    return [first + position for position in from_raw(total, num_frames, policy.max_video_frames)]


def _library(name: str) -> Any:
    try:
        library: Any = importlib.import_module(name)
    except (ImportError, OSError):
        return None
    if name == "decord":
        library.logging.set_level(library.logging.QUIET)
    else:
        library.logging.set_level(None)
    return library


def _file(source: str | bytes) -> Any:
    return source if isinstance(source, str) else io.BytesIO(source)


def _check_size(width: int, height: int, policy: MediaPolicy) -> None:
    if width * height > policy.max_pixels:
        raise DataError(f"has {width} x {height} pixels a frame, more than {policy.max_pixels:,}")


def _check_header(av: Any, source: str | bytes, policy: MediaPolicy) -> None:
    with _opened(av, source) as (_, stream):
        _check_size(stream.codec_context.width, stream.codec_context.height, policy)


@contextmanager
def _opened(av: Any, source: str | bytes) -> Iterator[tuple[Any, Any]]:
    try:
        with av.open(_file(source)) as container:
            if not container.streams.video:
                kinds = sorted({stream.type for stream in container.streams})
                only = f" (only {', '.join(kinds)})" if kinds else ""
                raise DataError(f"has no video stream{only}")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # the caller has its own workers
            stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not a guess
            yield container, stream
    except (av.FFmpegError, ValueError, IndexError, OverflowError) as error:
        raise DataError(
            f"the video cannot be decoded: {getattr(error, 'strerror', None) or error}"
        ) from error


# decord


def _by_decord(
    decord: Any,
    source: str | bytes,
    window: Window | None,
    num_frames: int | None,
    policy: MediaPolicy,
    *,
    silent: bool,
) -> list[Image.Image]:
    try:
        with _stderr_closed(not silent):
            reader = decord.VideoReader(_file(source), ctx=decord.cpu(0), num_threads=1)
        height, width, channels = reader[0].shape
        if channels != 3:  # decord miscounts the channels of very narrow frames
            raise _DecordFailed(f"{channels} channels")
        _check_size(width, height, policy)
        if window is None:
            positions = choose(len(reader), None, num_frames, policy)
        else:
            begins = [float(span[0]) for span in reader.get_frame_timestamp(list(range(len(reader))))]
            positions = choose([begin - begins[0] for begin in begins], window, num_frames, policy)
        batch = reader.get_batch(positions).asnumpy()
        del reader
    except (decord.DECORDError, RuntimeError, AssertionError, IndexError, ValueError, OSError) as error:
        raise _DecordFailed(str(error).strip().split("\n")[0]) from None
    return [Image.fromarray(frame) for frame in batch]


@contextmanager
def _stderr_closed(needed: bool) -> Iterator[None]:
    """Keeps decord's report on a file it cannot open, which no log level stops, from file descriptor 2.

    Needed only without PyAV, whose look at the header keeps such files from decord.
    """
    if not needed:
        yield
        return
    with _STDERR:
        kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nothing)


# PyAV


def _by_pyav(
    av: Any, source: str | bytes, window: Window | None, num_frames: int | None, policy: MediaPolicy
) -> list[Image.Image]:
    with _opened(av, source) as (container, stream):
        stamps: list[int | None] = []
        key_stamps: list[int] = []
        for packet in container.demux(stream):
            if packet.size and not packet.is_discard:
                stamps.append(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    key_stamps.append(packet.pts)
        known = sorted(stamp for stamp in stamps if stamp is not None)
        if len(known) < len(stamps) or len(set(known)) < len(known):
            return _in_one_pass(av, source, window, num_frames, policy)
        if not known or not key_stamps:
            raise DataError("the video has no frames")
        base = float(stream.time_base)
        begins = [(stamp - known[0]) * base for stamp in known]
        positions = choose(len(known) if window is None else begins, window, num_frames, policy)
        found = _seek_and_decode(
            container, stream, [known[position] for position in positions], sorted(key_stamps)
        )
    lost = [position for position in positions if known[position] not in found]
    if lost:
        raise DataError(f"frame {lost[0]} of {len(known)} cannot be decoded")
    return [found[known[position]] for position in positions]


def _seek_and_decode(
    container: Any, stream: Any, wanted: list[int], keys: list[int]
) -> dict[int, Image.Image]:
    """The frames with the time stamps `wanted` (rising), seeking where a key frame lies between two."""
    found: dict[int, Image.Image] = {}
    left = list(wanted)
    while left:
        container.seek(_last_key(keys, left[0]), stream=stream)
        remaining = len(left)
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            while left and frame.pts > left[0]:
                left.pop(0)  # it never came
            if left and frame.pts == left[0]:
                found[left.pop(0)] = _picture(frame)
            if not left or frame.pts < _last_key(keys, left[0]):
                break
        if len(left) == remaining:
            break
    return found


def _last_key(keys: list[int], stamp: int) -> int:
    """The time stamp of the last key frame not after `stamp`; of the first one where there is none."""
    return keys[max(bisect_right(keys, stamp) - 1, 0)]


def _in_one_pass(
    av: Any, source: str | bytes, window: Window | None, num_frames: int | None, policy: MediaPolicy
) -> list[Image.Image]:
    """For streams without usable time stamps: count all frames, then decode up to the last one wanted."""
    with _opened(av, source) as (container, stream):
        rate = float(stream.average_rate or 25)
        total = sum(1 for _ in container.decode(stream))
    begins = [position / rate for position in range(total)]
    positions = choose(begins if window and total else total, window, num_frames, policy)
    wanted, frames = set(positions), []
    with _opened(av, source) as (container, stream):
        for position, frame in enumerate(container.decode(stream)):
            if position in wanted:
                frames.append(_picture(frame))
            if position >= positions[-1]:
                break
    return frames


def _picture(frame: Any) -> Image.Image:
    """RGB, turned upright as the file's display matrix says (decord does the same)."""
    image: Image.Image = frame.to_image()
    turn = int(getattr(frame, "rotation", 0)) % 360
    return image.convert("RGB") if not turn else image.convert("RGB").rotate(turn, expand=True)
