"""Bad rows of `vlm2vec embed`: each named, the rest right."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import golden
from embed_items import TEXTS, TOLERANCE, jsonl, refusal, texts, tiny, vectors
from warm import Warm

BAD = [
    ({"id": "m", "image": "nowhere.png"}, 66, "image nowhere.png: "),
    (
        {"id": "t", "text": "<image><image>", "image": "images/tiny_10x12.png"},
        65,
        "text has 2 <image> tokens for 1 images",
    ),
    ({"id": "e"}, 65, "expected text, image or video"),
]


@pytest.mark.parametrize(("row", "code", "fact"), BAD)
def test_a_bad_row_stops_the_run_after_the_rows_before_it(
    warm: Warm, row: dict[str, Any], code: int, fact: str
) -> None:
    done = tiny(warm, texts(row, {"text": "after"}), "--media-root", golden.ROOT)
    assert done.exit_code == code
    assert done.stderr.decode().startswith(f"vlm2vec: error: stdin line 5: {fact}")
    assert [row["id"] for row in done.rows] == ["1", "2", "3", "4"]


def test_skipped_rows_are_counted_and_written_down(warm: Warm, tmp_path: Path) -> None:
    whole = vectors(tiny(warm, texts({"text": "after"})))
    mixed = [row for pair in zip([*TEXTS[:3]], (row for row, *_ in BAD), strict=True) for row in pair]
    lines = [{"text": row} if isinstance(row, str) else row for row in mixed]
    stdin = jsonl([*lines, {"text": TEXTS[3]}])
    args = ("--media-root", golden.ROOT, "--on-error", "skip", "--rejects", "bad.jsonl")
    done = tiny(warm, stdin, *args)
    assert done.exit_code == 65
    assert done.stderr.decode().splitlines() == [
        "vlm2vec: error: 3 rows rejected, 0 allowed",
        "hint: see bad.jsonl",
    ]
    assert [row["text"] for row in done.rows] == TEXTS
    for row, name in zip(done.rows, "1234", strict=True):
        assert np.abs(np.array(row["embedding"]) - whole[name]).max() <= TOLERANCE
    rejected = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert sorted((one["place"], one["code"]) for one in rejected) == [
        ("stdin line 2", 66),
        ("stdin line 4", 65),
        ("stdin line 6", 65),
    ]
    facts = {one["place"]: one["reason"] for one in rejected}
    for place, (_, _, fact) in zip(sorted(facts), BAD, strict=True):
        assert facts[place].startswith(fact)
    allowed = tiny(warm, stdin, *args, "--allow-rejects", "3")
    assert (allowed.exit_code, allowed.stderr) == (0, b"vlm2vec: warning: 3 rows rejected, 3 allowed\n")


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 3.6 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def bad_media(folder: Path) -> list[tuple[dict[str, Any], int, str]]:
    """Rows whose media cannot be used, each with its exit code and its reason."""
    av = pytest.importorskip("av")
    pymupdf = pytest.importorskip("pymupdf")
    whole = (golden.ROOT / "images" / "rgba_180x240.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"not a picture at all")
    (folder / "bomb.png").write_bytes(bomb())
    with pymupdf.open() as document:
        document.new_page(width=60, height=60)
        document.save(folder / "plain.pdf")
        document.save(folder / "locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret")
    pageless = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    )
    (folder / "pageless.pdf").write_bytes(pageless + b"trailer<</Root 1 0 R>>\n%%EOF\n")
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 64)
    (folder / "nothing.mp4").write_bytes(b"")
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for name in ("frameless.mp4", "frameless.avi"):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
            container.start_encoding()
    return [
        ({"image": "missing.png"}, 66, f"image missing.png: no such file in {folder}"),
        ({"image": "cut.png"}, 65, "image cut.png: cannot be decoded: image file is truncated"),
        ({"image": "empty.png"}, 65, "image empty.png: the file is empty"),
        ({"image": "text.png"}, 65, "image text.png: is no picture (begins with b'not a pictur')"),
        (
            {"image": "bomb.png"},
            65,
            "image bomb.png: has more pixels than can be read: Image size (3600000000 pixels) exceeds limit "
            "of 178956970 pixels, could be decompression bomb DOS attack.",
        ),
        ({"image": "locked.pdf#page=1"}, 65, "image locked.pdf#page=1: the PDF is encrypted"),
        ({"image": "pageless.pdf#page=1"}, 65, "image pageless.pdf#page=1: the PDF has no pages"),
        ({"image": "plain.pdf#page=2"}, 65, "image plain.pdf#page=2: the PDF has 1 page, no page 2"),
        ({"video": "missing.mp4"}, 66, f"video missing.mp4: no such file in {folder}"),
        (
            {"video": "broken.mp4"},
            65,
            "video broken.mp4: the video cannot be decoded: Invalid data found when processing input",
        ),
        ({"video": "nothing.mp4"}, 65, "video nothing.mp4: the file is empty"),
        ({"video": "sound.mp4"}, 65, "video sound.mp4: has no video stream (only audio)"),
        ({"video": "frameless.mp4"}, 65, "video frameless.mp4: has no video stream"),
        ({"video": "frameless.avi"}, 65, "video frameless.avi: the video has no frames"),
        ({"text": "word " * 200_000}, 65, "text has 400,000 tokens, more than the model's 32,768 positions"),
        ({"text": None}, 65, "expected text, image or video"),
        ({"video": "frames", "num_frames": "many"}, 65, "num_frames: expected an integer, got a string"),
        (
            {"video": "frames", "num_frames": -1},
            65,
            "num_frames: expected an integer from 1 to 1000000, got -1",
        ),
    ]


def odd_media(folder: Path) -> list[dict[str, Any]]:
    """Rows that look wrong and are not."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    Image.new("RGB", (10, 3000), "blue").save(folder / "strip.png")
    Image.frombytes("CMYK", (50, 40), noise.tobytes()).save(folder / "print.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "green")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    names = ["dot.png", "strip.png", "print.jpg", "deep.png", "moving.gif"]
    return [{"image": name} for name in names] + [
        {"text": "same id", "id": "x"},
        {"text": "again", "id": "x"},
    ]


def test_each_bad_row_is_named_and_the_rest_is_right(warm: Warm, tmp_path: Path) -> None:
    bad, odd = bad_media(tmp_path), odd_media(tmp_path)
    alone = tiny(warm, jsonl(odd), "--max-pixels", "12544").rows
    assert [row["id"] for row in alone] == ["1", "2", "3", "4", "5", "x", "x"]
    mixed: list[dict[str, Any]] = [row for row, *_ in bad]
    places = {}
    for number, row in enumerate(odd):
        mixed.insert(2 * number, row)
    for number, row in enumerate(mixed, start=1):
        places.update((f"stdin line {number}", one) for one in bad if one[0] is row)
    args = ("--max-pixels", "12544", "--on-error", "skip", "--rejects", "bad.jsonl")
    done = tiny(warm, jsonl(mixed), *args)
    assert done.exit_code == 65
    assert done.stderr.decode().startswith(f"vlm2vec: error: {len(bad)} rows rejected, 0 allowed\n")
    for row, expected in zip(done.rows, alone, strict=True):
        assert np.abs(np.array(row["embedding"]) - expected["embedding"]).max() <= TOLERANCE
    rejected = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    found = {one["place"]: (one["code"], one["reason"]) for one in rejected}
    assert found == {place: (code, reason) for place, (_, code, reason) in places.items()}


@pytest.mark.slow
def test_each_bad_row_alone_is_one_line_and_its_code(warm: Warm, tmp_path: Path) -> None:
    for row, code, reason in bad_media(tmp_path):
        first, *hint = refusal(tiny(warm, jsonl([row])), code)
        assert first == f"vlm2vec: error: stdin line 1: {reason}"
        assert [line[:6] for line in hint] in ([], ["hint: "])


def test_a_million_characters_may_be_cut(warm: Warm) -> None:
    done = tiny(warm, jsonl([{"text": "word " * 200_000}]), "--max-length", "64")
    short = tiny(warm, jsonl([{"text": "word " * 200}]), "--max-length", "64")
    assert done.rows[0]["embedding"] == short.rows[0]["embedding"]
