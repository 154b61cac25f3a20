"""The reader as callers see it: one picture in many places, videos of all kinds, errors word for word."""

import gc
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.media import MediaPolicy, MediaReader, archives, locate
from vlm2vec_cli.media.sampling import spread

Make = Callable[..., bytes]


def numbers(frames: list[Image.Image]) -> list[int]:
    return [frame.getpixel((0, 0))[1] for frame in frames]  # type: ignore[index,misc]


def error_of(call: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.place == ""
    return caught.value


def test_one_picture_is_the_same_wherever_it_lies(
    reader: MediaReader, root: Path, same_picture: list[str], picture: Image.Image, png: bytes
) -> None:
    for ref in same_picture:
        image = reader.image(ref, root)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), np.asarray(picture)), ref
        assert reader.read_bytes(ref, root) == png, ref
        assert numbers(reader.frames(ref, root, num_frames=8)) == numbers([picture]), ref
    assert len({reader.identity(ref, root) for ref in same_picture}) == 1


def test_identity_tells_contents_pages_and_windows_apart(
    reader: MediaReader, root: Path, pdf: Make, clip: Make
) -> None:
    (root / "p.pdf").write_bytes(pdf())
    (root / "c.mp4").write_bytes(clip())
    refs = [
        "a.png", "v/frame_1.png", "p.pdf", "p.pdf#page=1", "p.pdf#page=2",
        "c.mp4", "c.mp4#t=1,2", "c.mp4#t=1", "c.mp4#t=,1", "c.mp4#t=1,2.5", "v/",
    ]  # fmt: skip
    assert len({reader.identity(ref, root) for ref in refs}) == len(refs)


def test_identity_changes_when_the_bytes_do(reader: MediaReader, root: Path, frame_pngs: list[bytes]) -> None:
    before = [reader.identity(ref, root) for ref in ("v/frame_3.png", "v/")]
    (root / "v" / "frame_3.png").write_bytes(frame_pngs[3][:-1] + b"\0")  # as long as before
    os.utime(root / "v" / "frame_3.png", ns=(1, 1))
    after = [reader.identity(ref, root) for ref in ("v/frame_3.png", "v/")]
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize(
    "video", ["v/", "v", "z.zip!v/", "z.zip!v", "t.tar!v/", "t.tar!./v", "c.parquet!list[0]", "list"]
)
@pytest.mark.parametrize("num_frames", [1, 2, 8, 12, 13, None])
def test_a_folder_of_frames_is_the_same_wherever_it_lies(
    reader: MediaReader, root: Path, video: str, num_frames: int | None
) -> None:
    refs = [f"v/frame_{number}.png" for number in range(12)] if video == "list" else video
    assert numbers(reader.frames(refs, root, num_frames=num_frames)) == spread(12, num_frames)
    if isinstance(refs, str):
        assert reader.identity(refs, root) == reader.identity("v/", root)


def test_a_list_keeps_the_order_it_is_given_in(reader: MediaReader, root: Path) -> None:
    refs = ["z.zip!v/frame_9.png", "v/frame_2.png", "t.tar!v/frame_2.png", "c.parquet!list[0][5]"]
    assert numbers(reader.frames(refs, root, num_frames=4)) == [9, 2, 2, 5]


def test_clips_and_their_windows(reader: MediaReader, root: Path, clip: Make) -> None:
    import zipfile

    (root / "c.mp4").write_bytes(clip())
    with zipfile.ZipFile(root / "clips.zip", "w") as archive:
        archive.writestr("in/c.mp4", clip())
    for ref in ("c.mp4", "clips.zip!in/c.mp4"):
        whole, window = (
            reader.frames(ref, root, num_frames=3),
            reader.frames(f"{ref}#t=1,2", root, num_frames=30),
        )
        assert [round(frame.getpixel((60, 30))[1] / 8) for frame in whole] == [0, 14, 29]  # type: ignore[index]
        assert [round(frame.getpixel((60, 30))[1] / 8) for frame in window] == list(range(10, 20))  # type: ignore[index]


def test_pages_from_files_and_archives(reader: MediaReader, root: Path, pdf: Make) -> None:
    import zipfile

    (root / "p.pdf").write_bytes(pdf())
    with zipfile.ZipFile(root / "papers.zip", "w") as archive:
        archive.writestr("p.pdf", pdf())
    assert reader.page_count("p.pdf", root) == reader.page_count("papers.zip!p.pdf", root) == 3
    one, other = reader.image("p.pdf#page=2", root), reader.image("papers.zip!p.pdf#page=2", root)
    assert one.size == (200, 280)
    assert one.tobytes() == other.tobytes() == reader.frames("p.pdf#page=2", root, num_frames=8)[0].tobytes()
    assert one.tobytes() != reader.image("p.pdf#page=3", root).tobytes()


@pytest.mark.parametrize(
    "name",
    [
        "it's a b.png",
        "naïve 漢字.png",
        "a#1.png",
        "p.pdf#page=2",
        "wow!.png",
        "x.zip!y.png",
        "100%.png",
        "-.png",
        "data.png",
    ],
)
def test_strange_file_names_work(reader: MediaReader, root: Path, png: bytes, name: str) -> None:
    (root / name).write_bytes(png)
    assert reader.identity(name, root) == reader.identity("a.png", root)


def test_quickstart_references_lead_to_the_shipped_data(
    reader: MediaReader, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "quickstart_root", lambda: root)
    for ref in ("quickstart:a.png", "quickstart:z.zip!d/a.png"):
        assert reader.identity(ref, tmp_path / "elsewhere") == reader.identity("a.png", root)
    trusting = MediaReader(MediaPolicy(trust_paths=True))
    assert "leaves the media root" in error_of(lambda: trusting.image("quickstart:../b.png", tmp_path)).fact


LEAVES = "leaves the media root {root}"


@pytest.mark.parametrize(
    ("ref", "kind", "fact"),
    [
        ("x.png", MissingError, "no such file in {root}"),
        ("../x.png", DataError, LEAVES),
        ("c.parquet!name[2]", DataError, LEAVES),
        ("/etc/hostname", DataError, "is an absolute path outside the media root {root}"),
        ("../z.zip!a", DataError, LEAVES),
        ("z.zip!../a.png", DataError, "the member name '../a.png' leaves the archive"),
        ("z.zip!d/b.png", MissingError, "no such member in z.zip"),
        ("t.tar!d/b.png", MissingError, "no such member in t.tar"),
        ("none.zip!a", MissingError, "no such file in {root}"),
        ("v!a.png", MissingError, "no such file in {root}"),
        ("empty.png", DataError, "the file is empty"),
        ("v/", DataError, "is a folder, not a file"),
        ("z.zip!v/", DataError, "is a folder, not a file"),
        ("c.parquet!list[0]", DataError, "the cell holds 12 elements"),
        ("c.parquet!image[9]", DataError, "the Parquet file has rows 0 to 2, no row 9"),
        ("a.png#t=1,2", DataError, "a time window belongs to a video, not to a picture"),
        ("a.png#page=2", DataError, "is no PDF (begins with b'\\x89PNG\\r\\n\\x1a\\n\\x00\\x00\\x00\\r')"),
        ("https://x.org/a.png", DataError, "addresses are not fetched"),
        ("pipe", DataError, "is neither a file nor a folder"),
        ("n" * 300, MissingError, "no such file in {root}"),
        ("", DataError, "the reference is empty"),
    ],
)
def test_errors_say_exactly_what_is_wrong(
    reader: MediaReader, root: Path, ref: str, kind: type[UserError], fact: str
) -> None:
    (root / "empty.png").write_bytes(b"")
    os.mkfifo(root / "pipe")
    error = error_of(lambda: reader.image(ref, root))
    name = ref if len(ref) < 120 else f"{ref[:120]}... (300 characters)"
    assert (type(error), error.fact) == (kind, f"image {name}: {fact.format(root=root)}")


@pytest.mark.parametrize(
    ("video", "fact"),
    [
        ("none/", "no such file in {root}"),
        ("bare/", "no jpg, jpeg or png frames in the folder"),
        ("z.zip!w/", "no such member in z.zip"),
        ("z.zip", "is a zip archive"),
        ("v/#t=1,2", "a folder or list of frames has no pages or times"),
        ("a.png#t=1,2", "a time window belongs to a video file, not to a picture"),
        ("broken/", "frame 2.png: cannot be decoded: image file is truncated"),
        ("empty.mp4", "the file is empty"),
        ("words.mp4", "the video cannot be decoded: Invalid data found when processing input"),
    ],
)
def test_errors_of_videos(reader: MediaReader, root: Path, png: bytes, video: str, fact: str) -> None:
    (root / "bare").mkdir()
    (root / "broken").mkdir()
    (root / "broken" / "1.png").write_bytes(png)
    (root / "broken" / "2.png").write_bytes(png[:-60])
    (root / "empty.mp4").write_bytes(b"")
    (root / "words.mp4").write_bytes(b"these are words")
    error = error_of(lambda: reader.frames(video, root, num_frames=8))
    assert error.fact.startswith(f"video {video}: {fact.format(root=root)}")


def test_a_bad_frame_of_a_list_is_named(reader: MediaReader, root: Path) -> None:
    error = error_of(lambda: reader.frames(["a.png", "gone.png"], root, num_frames=8))
    assert (type(error), error.fact) == (MissingError, f"video gone.png: no such file in {root}")
    assert (
        error_of(lambda: reader.frames([], root, num_frames=8)).fact == "video: the list of frames is empty"
    )


def test_a_frame_that_is_a_link_out_of_the_root_is_refused(
    reader: MediaReader, root: Path, png: bytes
) -> None:
    (root.parent / "outside.png").write_bytes(png)
    (root / "v" / "frame_3b.png").symlink_to(root.parent / "outside.png")
    assert LEAVES.format(root=root) in error_of(lambda: reader.frames("v/", root, num_frames=2)).fact
    assert len(MediaReader(MediaPolicy(trust_paths=True)).frames("v/", root, num_frames=None)) == 13


def test_an_unreadable_file_is_missing(
    reader: MediaReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vlm2vec_cli.media.sources.LocalFile.read", refuse)
    error = error_of(lambda: reader.image("a.png", root))
    assert (type(error), error.fact) == (MissingError, "image a.png: cannot be read: Permission denied")


def test_sizes_are_limited(root: Path, same_picture: list[str]) -> None:
    small = MediaReader(MediaPolicy(max_bytes=50))
    for ref in same_picture:
        assert type(error_of(lambda ref=ref: small.image(ref, root))) is DataError  # type: ignore[misc]
    few = MediaReader(MediaPolicy(max_pixels=50))
    assert error_of(lambda: few.image("a.png", root)).fact == "image a.png: has 14 x 9 pixels, more than 50"


def test_addresses_are_fetched_when_allowed(root: Path, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm2vec_cli.media.remote.fetch", lambda address, **_: png)
    allowed = MediaReader(MediaPolicy(allow_remote=True))
    assert allowed.identity("https://x.org/a.png", root) == allowed.identity("a.png", root)


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


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("r.parquet!ref[0]", "a Parquet cell may not refer to another Parquet cell"),
        ("c.parquet!content[1]", "a Parquet cell may not refer to another Parquet cell"),
        ("v/", "the cell refers to v/, which is a folder"),
        (
            "p.pdf#page=1",
            "the cell refers to p.pdf#page=1; pages and times belong behind the cell's own reference",
        ),
        ("gone.png", "no such file in {root}"),
    ],
)
def test_a_cell_refers_to_one_plain_medium(
    reader: MediaReader, root: Path, pdf: Make, value: str, fact: str
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    (root / "p.pdf").write_bytes(pdf())
    parquet.write_table(pa.table({"ref": [value, "p.pdf"]}), root / "r.parquet")
    assert error_of(lambda: reader.image("r.parquet!ref[0]", root)).fact == (
        f"image r.parquet!ref[0]: {fact.format(root=root)}"
    )
    assert reader.image("r.parquet!ref[1]#page=3", root).size == (200, 280)
