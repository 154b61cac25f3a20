"""Clips decoded in processes of their own: same frames, same errors, and no clip takes the run along."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import Apart, MediaPolicy, MediaReader
from vlm2vec_cli.media import apart as module


@pytest.fixture
def video(tmp_path: Path, clip: Callable[..., bytes]) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip())
    return path


def test_frames_and_errors_are_those_of_decoding_here(video: Path, tmp_path: Path) -> None:
    apart = MediaReader(decode=Apart(num_clips=2))
    (tmp_path / "broken.mp4").write_bytes(video.read_bytes()[:300])
    for name, root in ((video.name, video.parent), (f"{video.name}#t=0,1", video.parent)):
        here = MediaReader().frames(name, root, num_frames=3)
        there = apart.frames(name, root, num_frames=3)
        assert [one.tobytes() for one in there] == [one.tobytes() for one in here]
    errors = []
    for reader in (MediaReader(), apart):
        with pytest.raises(DataError) as raised:
            reader.frames("broken.mp4", tmp_path, num_frames=3)
        errors.append((raised.value.fact, raised.value.hint))
    assert errors[0] == errors[1]


def test_a_process_serves_a_number_of_clips(video: Path) -> None:
    apart = Apart(num_clips=2)
    policy, processes = MediaPolicy(), []
    for _ in range(3):
        apart(str(video), window=None, num_frames=2, policy=policy)
        processes.append(apart._idle.queue[-1] if apart._idle.queue else None)
    assert processes[0] is not None
    assert processes[1] is None, "replaced after two"
    assert processes[2] is not processes[0]


def test_a_clip_that_hangs_or_kills_its_process_is_an_error_of_its_own(video: Path) -> None:
    apart, policy = Apart(seconds=0.5), MediaPolicy()
    stopped = module._Process()
    os.kill(stopped._process.pid, signal.SIGSTOP)
    apart._idle.put(stopped)
    start = time.monotonic()
    with pytest.raises(DataError, match=r"the video took more than 0\.5 seconds to decode"):
        apart(str(video), window=None, num_frames=2, policy=policy)
    assert time.monotonic() - start < 30
    dying = module._Process()
    dying._process.kill()
    apart._idle.put(dying)
    with pytest.raises(DataError, match=r"the video ended its decoder \(signal 9\)"):
        apart(str(video), window=None, num_frames=2, policy=policy)
    apart._seconds = 60
    assert len(apart(str(video), window=None, num_frames=2, policy=policy)) == 2
