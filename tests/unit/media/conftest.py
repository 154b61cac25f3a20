"""Small media made on the spot: a picture of noise, its bytes in every place that a reference can name."""

import base64
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm2vec_cli.media import MediaReader

Clip = Callable[..., bytes]


def noise(seed: int, width: int = 14, height: int = 9) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.fixture
def reader() -> MediaReader:
    return MediaReader()


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    return noise(0)


@pytest.fixture(scope="session")
def png(picture: Image.Image) -> bytes:
    return encoded(picture)


@pytest.fixture(scope="session")
def frame_pngs() -> list[bytes]:
    """Twelve frames; frame i is all of colour (20 * i, i, 0)."""
    return [encoded(Image.new("RGB", (6, 5), (20 * number, number, 0))) for number in range(12)]


@pytest.fixture
def root(tmp_path: Path, png: bytes, frame_pngs: list[bytes]) -> Path:
    """A media root: `a.png` and the folder of frames `v/`, alone and in `z.zip`, `t.tar`, `c.parquet`."""
    import pyarrow as pa
    from pyarrow import parquet

    top = tmp_path / "media"
    (top / "v").mkdir(parents=True)
    (top / "a.png").write_bytes(png)
    with zipfile.ZipFile(top / "z.zip", "w") as archive:
        archive.writestr("d/a.png", png)
        for number, frame in enumerate(frame_pngs):
            archive.writestr(f"v/frame_{number}.png", frame)
    with tarfile.open(top / "t.tar", "w") as tar:
        for number, frame in enumerate(frame_pngs):
            (top / "v" / f"frame_{number}.png").write_bytes(frame)
        tar.add(top / "v", "./v")
        tar.add(top / "a.png", "./d/a.png")
    rows = {
        "image": [None, {"bytes": png, "path": "other.png"}, {"bytes": None, "path": "z.zip!d/a.png"}],
        "content": [b"", png, png],
        "name": ["", "a.png", "../a.png"],
        "list": [frame_pngs, [png], []],
        "query": [{"image": png}] * 3,
        "number": [1, 2, 3],
    }
    parquet.write_table(pa.table(rows), top / "c.parquet", row_group_size=2)
    return top


@pytest.fixture
def same_picture(root: Path, png: bytes) -> list[str]:
    """References to `png` in all the ways there are."""
    return [
        "a.png",
        "./v/../a.png",
        str(root / "a.png"),
        "z.zip!d/a.png",
        "z.zip!/d/a.png",
        "t.tar!d/a.png",
        "t.tar!./d/a.png",
        "c.parquet!image[1]",
        "c.parquet!image[2]",
        "c.parquet!content[2]",
        "c.parquet!name[1]",
        "c.parquet!list[1]",
        "c.parquet!list[1][0]",
        "c.parquet!query.image[0]",
        "data:image/png;base64," + base64.b64encode(png).decode(),
        "data:," + "".join(f"%{byte:02x}" for byte in png),
    ]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Makes clips of one grey a frame: frame i is 8 * i. `turn` rotates by the mp4's display matrix."""
    import av

    def make(
        num_frames: int = 30, suffix: str = ".mp4", rate: int = 10, turn: int = 0, codec: str = "mpeg4"
    ) -> bytes:
        path = tmp_path_factory.mktemp("clip") / f"clip{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options={"g": "6"})
            stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
            for number in range(num_frames):
                pixels = np.full((32, 64, 3), 8 * number % 256, np.uint8)
                pixels[:16, :32, 0] = 255  # the upper left quarter is reddish
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        content = bytearray(path.read_bytes())
        if turn:
            matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn]
            a, b, c, d = (side << 16 for side in matrix)
            place = content.index(b"tkhd") + 44
            content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        return bytes(content)

    return make


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An mp4 without a video stream."""
    import av

    path = tmp_path_factory.mktemp("sound") / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture(scope="session")
def pdf() -> Callable[..., bytes]:
    """Makes PDFs; page i of `sizes` (in points) has i black squares in its upper left corner."""
    import pymupdf

    def make(*sizes: tuple[float, float], password: str | None = None) -> bytes:
        document = pymupdf.open()
        for number, (width, height) in enumerate(sizes or [(100, 140)] * 3, start=1):
            page = document.new_page(width=width, height=height)
            for square in range(number):
                page.draw_rect(pymupdf.Rect(4 + 12 * square, 4, 12 + 12 * square, 12), fill=(0, 0, 0))
        if password is None:
            return bytes(document.tobytes())
        return bytes(
            document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw=password, owner_pw=password)
        )

    return make


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """`encode(image, "PNG", **options)` -> bytes."""
    return encoded
