"""Damaged and hostile inputs through the doors that users have: rows, references, archives, media.

Each input is read or refused with a user's error: no other exception, no crash, no more than twenty seconds,
no file outside of the media root opened (an audit hook sees what Python opens; what C libraries might open
has a colour of its own outside of the root, which must never be seen), no byte written outside of the output.
How many inputs: see conftest.py.
"""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import fuzzing
from faults import Tally, share
from vlm2vec_cli import schemas
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.media import Apart, MediaReader
from vlm2vec_cli.streams import Session

KINDS = {kind.name: kind for kind in schemas.KINDS}
SECRET = (250, 10, 200)
COLOUR = (30, 90, 20)
SEEDS = st.integers(0, 2**64 - 1)
GUARD = fuzzing.Guard()


def budget(number: int) -> settings:
    """`number` inputs in a full run, fewer in others."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=share(number), suppress_health_check=checks)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the media root `root`, and beside it what nobody may see."""
    top = tmp_path_factory.mktemp("fuzz")
    root = top / "root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))  # where indices of large archives are looked for
        _fill(top, root)
        yield top


def _fill(top: Path, root: Path) -> None:
    (root / "d").mkdir(parents=True)
    Image.new("RGB", (8, 6), SECRET).save(top / "secret.png")
    Image.new("RGB", (8, 6), COLOUR).save(root / "a.png")
    Image.new("RGB", (8, 6), COLOUR).save(root / "d" / "b.jpg")
    for name, target in (("out", ".."), ("link.png", "../secret.png"), ("far.png", str(top / "secret.png"))):
        (root / name).symlink_to(target)
    secret, own = (top / "secret.png").read_bytes(), (root / "a.png").read_bytes()
    (top / "secret.zip").write_bytes(fuzzing.packed_zip({"s.png": secret}))
    members = {"a.png": own, "d/b.png": own, "v/1.png": own, "v/2.png": own}
    (root / "z.zip").write_bytes(fuzzing.packed_zip({**members, "../../secret.png": own}))
    links = {
        "l.png": "a.png",
        "m.png": "../../secret.png",
        "n.png": str(top / "secret.png"),
        "o.png": "o.png",
    }
    (root / "t.tar").write_bytes(fuzzing.packed_tar(members, links))
    names = [
        "a.png",
        "../secret.png",
        str(top / "secret.png"),
        "link.png",
        "c.parquet!name[0]",
        "out/secret.png",
    ]
    images = [{"bytes": own, "path": one} for one in names]
    cells = {"name": names, "image": images, "many": [[own]] * len(names)}
    pq.write_table(pa.table(cells), root / "c.parquet", row_group_size=2)


def outcome(tally: Tally, name: str, place: Path, read: Callable[[], Any]) -> None:
    """Reads under guard, and counts."""
    result, fact = "refused", ""
    with GUARD.only(place):
        try:
            found = read()
            result = "read"
        except UserError as error:
            found, fact = None, str(error)
    assert "\n" not in fact, "an error is one line"
    assert len(fact) < 2000
    tally.input(name, result)
    for picture in found if isinstance(found, list) else [found]:
        if isinstance(picture, Image.Image):
            assert SECRET not in {colour for _, colour in picture.getcolors(1 << 24) or []}


# ----------------------------------------------------------------------------------------------- rows

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["vlm2vec/item@1", "vlm2vec/pair@1", "vlm2vec/item@9", "query", "a.png", "../x", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = sorted({one.name for kind in KINDS.values() for one in kind.fields} | {"schema", "mine", ""})
ROWS = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)
PLAIN = [
    {"text": "a", "image": ["a.png"], "relevant": {"c": 1.0}, "pool": ["c"]},
    {"query": {"text": "a"}, "positive": {"image": "a.png"}, "negatives": [{"text": "b"}]},
    {"id": "1", "embedding": [0.5, 0.25], "fingerprint": "f"},
    {"query": "q", "candidates": ["a", "b"], "scores": [2.0, 1.0]},
]
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda lines: lines,
    "gzip": gzip.compress,
    "zstd": lambda lines: zstandard.ZstdCompressor().compress(lines),
}


def read_rows(work: Path, kind: Any, content: bytes) -> list[Any]:
    """The good rows of a file, written as rows again."""
    source = work / "rows"
    source.write_bytes(content)
    with Session(
        [str(source)], str(work / "out.jsonl"), on_error="skip", allow_rejects=1 << 30, quiet=True,
        rejects=str(work / "bad.jsonl"),
    ) as session:  # fmt: skip
        session.write((record.row for record in session.read(kind)), kind)
    for line in (work / "out.jsonl").read_bytes().splitlines():
        json.loads(line)
    return []


@budget(9000)
@given(kind=st.sampled_from(sorted(KINDS)), rows=st.lists(ROWS, max_size=3))
def test_rows_of_any_values(place: Path, tally: Tally, kind: str, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode(errors="surrogatepass")
    outcome(tally, "rows", place, lambda: read_rows(place, KINDS[kind], lines))


@budget(6000)
@given(kind=st.sampled_from(sorted(KINDS)), form=st.sampled_from(sorted(FORMS)), seed=SEEDS)
def test_rows_of_damaged_bytes(place: Path, tally: Tally, kind: str, form: str, seed: int) -> None:
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in PLAIN * 3)
    damaged = FORMS[form](lines)
    damaged = fuzzing.mutated(damaged, seed)
    outcome(tally, "rows", place, lambda: read_rows(place, KINDS[kind], damaged))


@budget(3000)
@given(seed=SEEDS)
def test_rows_of_damaged_parquet(place: Path, tally: Tally, seed: int) -> None:
    file = io.BytesIO()
    rows = [{"id": str(n), "text": "abc", "embedding": [0.5, 1.0], "_extra": '{"x": 1}'} for n in range(20)]
    meta = {b"vlm2vec": b'{"schema": "vlm2vec/vector@1"}'}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(meta), file)
    damaged = fuzzing.mutated(file.getvalue(), seed)
    kind = KINDS["vector" if seed % 2 else "item"]
    outcome(tally, "Parquet rows", place, lambda: read_rows(place, kind, damaged))


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
