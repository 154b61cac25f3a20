"""What the README's section on security says, each claim by trying the opposite."""

import json
import os
import shutil
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import golden
import whole
from vlm2vec_cli import encoder, weights
from vlm2vec_cli.encoder import Input
from vlm2vec_cli.errors import DataError, UnavailableError
from vlm2vec_cli.media import MediaPolicy, MediaReader
from vlm2vec_cli.training import checkpoint
from vlm2vec_cli.training.world import ALONE
from warm import Warm

CONNECTIONS: list[Any] | None = None


class Evil:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if CONNECTIONS is not None and event in ("socket.connect", "socket.getaddrinfo"):
        CONNECTIONS.append(args)


@contextmanager
def no_network() -> Iterator[None]:
    """Fails where the block asks for a host or connects to one."""
    global CONNECTIONS
    CONNECTIONS = []
    try:
        yield
        assert CONNECTIONS == []
    finally:
        CONNECTIONS = None


sys.addaudithook(_hook)


def test_nothing_of_a_pickle_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"weight": Evil(trace)}, folder / "pytorch_model.bin")
    with pytest.raises(UnavailableError, match="cannot be read"):
        weights.read_file(folder / "pytorch_model.bin")
    torch.save({"step": Evil(trace)}, folder / checkpoint.STATE)
    torch.save({"weight": Evil(trace)}, folder / "trainable.pt")
    with pytest.raises(DataError, match="is damaged"):
        checkpoint.load_state(folder, "digest", {}, {})
    with pytest.raises(DataError, match="is damaged"):
        checkpoint.load_weights(torch.nn.Linear(1, 1), folder, ALONE.part)
    assert not trace.exists()
    torch.load(folder / checkpoint.STATE, weights_only=False)
    assert trace.exists(), "the pickle would have"


def test_code_beside_a_model_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(golden.MODEL, folder)
    trace = tmp_path / "trace"
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(trace)!r})\nclass Model: pass\n")
    config = json.loads((folder / "config.json").read_bytes())
    config["auto_map"] = {"AutoConfig": "modeling.Model", "AutoModel": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        told = json.loads((folder / name).read_bytes())
        told["auto_map"] = {"AutoTokenizer": ["modeling.Model", None], "AutoProcessor": "modeling.Model"}
        (folder / name).write_text(json.dumps(told))
    loaded = encoder.load(str(folder), MediaReader(), dtype="float32")
    (vector,) = loaded.encode([Input({"text": "a"}, tmp_path, "row 1")], pytest.fail)
    assert vector is not None
    assert not trace.exists()


def test_nobody_is_called(tmp_path: Path) -> None:
    with no_network():
        loaded = encoder.load(str(golden.MODEL), MediaReader(), dtype="float32")
        assert list(loaded.encode([Input({"text": "a"}, tmp_path, "row 1")], pytest.fail))
        for address in ("http://localhost:9/a.png", "https://example.org/a.png", "ftp://localhost/a.png"):
            with pytest.raises(DataError):
                MediaReader().image(address, tmp_path)
    with pytest.raises(AssertionError), no_network(), pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 9), 1)


def test_a_checkpoint_is_safetensors(warm: Warm) -> None:
    whole.write(warm, 2)
    assert warm(*whole.TRAIN, "-o", "run", "--max-steps", "1").exit_code == 0
    names = {path.suffix for path in (warm.work / "run").iterdir() if path.is_file()}
    assert ".safetensors" in names
    assert not names & {".bin", ".pt", ".pth", ".pkl", ".pickle"}


def test_small_files_do_not_become_large_ones(tmp_path: Path) -> None:
    """A picture of 40,000 x 40,000 pixels, and a member of 16 MB where one is allowed."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0))
    lines = chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + lines + chunk(b"IEND", b""))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(1 << 24))
    reader = MediaReader(MediaPolicy(max_bytes=1 << 20))
    for name in ("bomb.png", "bomb.zip!a.png"):
        with pytest.raises(DataError, match=r"pixels|is larger than"):
            reader.image(name, tmp_path)
