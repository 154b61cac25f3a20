"""Hostile references, damaged archives and media: each is read or refused; hostile.py says how."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import fuzzing
from faults import Tally
from hostile import SEEDS, budget, outcome
from vlm2vec_cli.media import Apart, MediaReader

# ----------------------------------------------------------------------------------------- references

WORDS = (
    "a.png d b.jpg .. . / // ! # z.zip t.tar c.parquet secret.png secret.zip s.png out link.png far.png l.png"
    " m.png n.png o.png name[0] name[1] name[2] name[3] name[4] name[5] image[1] many[0][0] v page=1 t=0,1"
    " data: ~ * é image/png;base64, quickstart: http:// file:// %2e%2e \\ proc self etc passwd dev SECRET"
)
PIECES = st.sampled_from([*WORDS.split(), "\0", " ", "a" * 300])
REFERENCES = st.lists(PIECES | st.text(max_size=3), min_size=1, max_size=7).map("".join)
PATHS = st.lists(PIECES, min_size=1, max_size=7).map("/".join)
CONTAINED = st.tuples(st.sampled_from(["z.zip", "t.tar", "c.parquet", "../secret.zip"]), PATHS).map("!".join)


@budget(13000)
@given(ref=REFERENCES | PATHS | CONTAINED, as_video=st.booleans())
def test_references_of_any_text(place: Path, tally: Tally, ref: str, as_video: bool) -> None:
    root, reader = place / "root", MediaReader()
    ref = ref.replace("SECRET", str(place / "secret.png"))

    def read() -> Any:
        return reader.frames(ref, root, num_frames=2) if as_video else reader.image(ref, root)

    outcome(tally, "references", place / "root", read)


# ------------------------------------------------------------------------------------------ containers


def damaged_file(place: Path, name: str, content: bytes, seed: int) -> Path:
    folder = place / "root" / "damaged"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(fuzzing.mutated(content, seed))
    return folder


@budget(9000)
@given(name=st.sampled_from(["z.zip", "t.tar"]), member=st.sampled_from(["a.png", "v", "l.png"]), seed=SEEDS)
def test_damaged_archives(place: Path, tally: Tally, name: str, member: str, seed: int) -> None:
    folder = damaged_file(place, name, (place / "root" / name).read_bytes(), seed)
    read = MediaReader().frames
    outcome(tally, "archives", place / "root", lambda: read(f"{name}!{member}", folder, num_frames=2))


@budget(2500)
@given(cell=st.sampled_from(["name[0]", "image[1]", "many[0]"]), seed=SEEDS)
def test_damaged_cells(place: Path, tally: Tally, cell: str, seed: int) -> None:
    folder = damaged_file(place, "c.parquet", (place / "root" / "c.parquet").read_bytes(), seed)
    outcome(tally, "cells", place / "root", lambda: MediaReader().image(f"c.parquet!{cell}", folder))


# ----------------------------------------------------------------------------------------------- media


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """A small picture in each format that is read."""
    pixels = np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)
    found = []
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form)
        found.append(file.getvalue())
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "GIF", save_all=True, append_images=[Image.fromarray(pixels[::-1])])
    return [*found, file.getvalue()]


@budget(6000)
@given(which=st.integers(0, 7), as_video=st.booleans(), seed=SEEDS)
def test_damaged_pictures(
    place: Path, tally: Tally, pictures: list[bytes], which: int, as_video: bool, seed: int
) -> None:
    folder, reader = damaged_file(place, "x.png", pictures[which], seed), MediaReader()

    def read() -> Any:
        return reader.frames("x.png", folder, num_frames=2) if as_video else reader.image("x.png", folder)

    outcome(tally, "pictures", place / "root", read)


@pytest.fixture(scope="module")
def pdf() -> bytes:
    import pymupdf

    with pymupdf.open() as document:
        page = document.new_page(width=60, height=80)
        page.insert_text((5, 20), "words")
        page.draw_rect(pymupdf.Rect(5, 30, 40, 60), fill=(0, 0.5, 0))
        page.insert_image(pymupdf.Rect(5, 60, 20, 75), pixmap=pymupdf.Pixmap(pymupdf.csRGB, (0, 0, 9, 9), 0))
        return bytes(document.tobytes())


@budget(1500)
@given(seed=SEEDS)
def test_damaged_documents(place: Path, tally: Tally, pdf: bytes, seed: int) -> None:
    folder = damaged_file(place, "p.pdf", pdf, seed)
    outcome(tally, "documents", place / "root", lambda: MediaReader().image("p.pdf#page=1", folder))


CLIPS = {"a.mp4": "mpeg4", "a.avi": "mpeg4", "a.mkv": "mpeg4", "a.webm": "libvpx"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small clip in each of some formats."""
    import av

    folder = tmp_path_factory.mktemp("clips")
    for name, codec in CLIPS.items():
        path = folder / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=5)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for number in range(5):
                frame = np.full((32, 32, 3), 40 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    return folder


APART = Apart(seconds=fuzzing.SECONDS / 2)


@budget(1500)
@given(which=st.sampled_from(sorted(CLIPS)), window=st.sampled_from(["", "#t=0.2,0.9"]), seed=SEEDS)
def test_damaged_clips(place: Path, tally: Tally, clips: Path, which: str, window: str, seed: int) -> None:
    folder, reader = damaged_file(place, which, (clips / which).read_bytes(), seed), MediaReader(decode=APART)
    outcome(tally, "clips", place / "root", lambda: reader.frames(which + window, folder, num_frames=2))
