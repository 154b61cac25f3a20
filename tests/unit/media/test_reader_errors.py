"""The reader's errors, word for word."""

import os
from functools import partial
from pathlib import Path

import pytest

from reading import Make, error_of
from vlm2vec_cli.errors import DataError, MissingError, UserError
from vlm2vec_cli.media import MediaPolicy, MediaReader

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
        assert type(error_of(partial(small.image, ref, root))) is DataError
    few = MediaReader(MediaPolicy(max_pixels=50))
    assert error_of(lambda: few.image("a.png", root)).fact == "image a.png: has 14 x 9 pixels, more than 50"


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
