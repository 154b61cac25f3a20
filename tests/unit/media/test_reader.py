"""The reader as callers see it: one picture in many places, videos of all kinds, identities."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reading import Make, error_of, numbers
from vlm2vec_cli.media import MediaPolicy, MediaReader, locate
from vlm2vec_cli.media.sampling import spread


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


def test_addresses_are_fetched_when_allowed(root: Path, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm2vec_cli.media.remote.fetch", lambda address, **_: png)
    allowed = MediaReader(MediaPolicy(allow_remote=True))
    assert allowed.identity("https://x.org/a.png", root) == allowed.identity("a.png", root)
