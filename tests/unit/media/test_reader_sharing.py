"""One reader for many threads and processes; archives indexed once."""

import gc
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reading import Make, error_of
from vlm2vec_cli.media import MediaPolicy, MediaReader, archives


def test_an_archive_is_indexed_once_and_again_when_it_changes(
    reader: MediaReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, real = [], archives.open_archive
    monkeypatch.setattr(archives, "open_archive", lambda *where: (opened.append(where[1]), real(*where))[1])
    for _ in range(3):
        reader.frames("t.tar!v/", root, num_frames=4)
        reader.image("z.zip!d/a.png", root)
    assert opened == ["t.tar", "z.zip"]
    os.replace(root / "z.zip", root / "old.zip")
    (root / "z.zip").write_bytes((root / "old.zip").read_bytes() + b"\0")
    os.utime(root / "z.zip", ns=(1, 1))
    reader.image("z.zip!d/a.png", root)
    assert opened == ["t.tar", "z.zip", "z.zip"]


def test_threads_share_a_reader(reader: MediaReader, root: Path, pdf: Make, clip: Make) -> None:
    (root / "p.pdf").write_bytes(pdf())
    (root / "c.mp4").write_bytes(clip())
    refs = ["z.zip!v/", "t.tar!v/", "c.parquet!list[0]", "v/", "c.mp4", "p.pdf#page=2"] * 5
    expected = [[frame.tobytes() for frame in reader.frames(ref, root, num_frames=5)] for ref in refs]
    shared = MediaReader()
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(
            lambda ref: [frame.tobytes() for frame in shared.frames(ref, root, num_frames=5)], refs
        )
        assert list(found) == expected


def test_a_pickled_reader_keeps_its_policy_and_nothing_open(root: Path) -> None:
    reader = MediaReader(MediaPolicy(max_pixels=77))
    error_of(lambda: reader.image("z.zip!d/a.png", root))
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.policy == reader.policy
    assert len(pickle.dumps(reader)) < 1000


def in_child(
    reader: MediaReader, root: Path, refs: list[str], results: "multiprocessing.Queue[object]"
) -> None:
    results.put([reader.frames(ref, root, num_frames=5)[-1].tobytes() for ref in refs])


@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*:DeprecationWarning"
)  # forking with threads is the point
def test_a_reader_works_on_both_sides_of_a_fork(
    reader: MediaReader, root: Path, pdf: Make, clip: Make
) -> None:
    (root / "p.pdf").write_bytes(pdf())
    (root / "c.mp4").write_bytes(clip())
    refs = ["t.tar!v/", "z.zip!v/", "c.parquet!list[0]", "p.pdf#page=3", "c.mp4"]
    expected = [reader.frames(ref, root, num_frames=5)[-1].tobytes() for ref in refs]
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[object] = context.Queue()
    stop = threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            reader.image("p.pdf#page=1", root)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    children = [context.Process(target=in_child, args=(reader, root, refs, results)) for _ in range(3)]
    tar = next(one for one in gc.get_objects() if isinstance(one, archives.TarArchive))
    with tar._lock:  # as if another thread were reading: the children must not wait for it
        for child in children:
            child.start()
    try:
        assert [results.get(timeout=20) for _ in children] == [expected] * 3
    finally:
        stop.set()
        busy.join()
        for child in children:
            child.join(10)
            child.kill()
            child.join()
            child.close()
        results.close()
        results.join_thread()
