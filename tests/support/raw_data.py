"""Files of raw data: pictures, tables, archives of what was written."""

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

IMAGE_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

Rows = Sequence[Mapping[str, Any]]


@cache
def encoded(width: int = 30, height: int = 28, mode: str = "RGB", form: str = "PNG", seed: int = 0) -> bytes:
    """A small picture of several greys, another one for each seed."""
    step, start = 3 + seed % 60, seed % 251
    greys = bytes((x * step + start) % 251 for x in range(width * height))
    image = Image.frombytes("L", (width, height), greys)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form)
    return buffer.getvalue()


def put(root: Path, name: str, content: bytes | None = None) -> Path:
    """A file, by default a picture, of its own for each name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed=zlib.crc32(name.encode())) if content is None else content)
    return path


def parquet(root: Path, name: str, rows: Rows, schema: pa.Schema | None = None) -> Path:
    """A Parquet file of these rows."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def jsonl(root: Path, name: str, rows: Rows) -> Path:
    """A file of JSON lines."""
    return put(root, name, "".join(json.dumps(row) + "\n" for row in rows).encode())


def pack(folder: Path, archive: Path, *, top: str = "") -> None:
    """Everything in `folder` as a zip or tar, names below `top`; the folder is removed."""
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    archive.parent.mkdir(parents=True, exist_ok=True)
    names = [top + one.relative_to(folder).as_posix() for one in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file, name in zip(files, names, strict=True):
                packed.write(file, name)
    else:
        with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as tar:
            for file, name in zip(files, names, strict=True):
                tar.add(file, name)
    for file in files:
        file.unlink()
    for one in sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True):
        one.rmdir()
    folder.rmdir()
