"""Whether this machine can do the work: versions, devices, memory, decoders, caches, and a model that runs.

Each check gives one row: its name, `ok`, `absent` (something optional) or `problem`, what was found, and for
the last two what to do about it. The self-test embeds one text and one picture and looks at the vectors.
A check that goes wrong itself is a problem of what it looks at, whatever was raised; the others are made.
"""

from __future__ import annotations

import base64
import importlib
import io
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal, NamedTuple

from vlm2vec_cli import __version__, plugins
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.media import tar_index

REQUIRED = (
    "torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors", "numpy", "polars", "pyarrow",
    "pillow", "typer", "orjson", "zstandard", "tqdm", "threadpoolctl",
)  # fmt: skip
OPTIONAL = {
    "pymupdf": "PDF pages and report --plot FILE.png: pip install pymupdf",
    "faiss-cpu": "mine-negatives --backend faiss: pip install 'vlm2vec-cli[faiss]'",
    "bm25s": "mine-negatives --method bm25: pip install 'vlm2vec-cli[bm25]'",
}
DECODERS = ("decord", "av")
LEAST_DISK = 1 << 30
Status = Literal["ok", "absent", "problem"]


class Finding(NamedTuple):
    """One check: its `name`, how it went, what was found, and the remedy ("" where nothing is to be done)."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def examine(model: str | None) -> Iterator[Finding]:
    """All findings in the order in which people look for causes; `model` None leaves the self-test out."""
    yield Finding(
        "vlm2vec", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    for name in REQUIRED:
        yield _installed(name, Finding(name, "problem", "not installed", f"pip install {name}"))
    yield from _decoders()
    for name, use in OPTIONAL.items():
        yield _installed(name, Finding(name, "absent", "not installed", use))
    yield from _guarded("devices", "install torch again", _devices)
    yield from _guarded("memory", "", _memory)
    for name, (folder, variable) in FOLDERS.items():
        remedy = f"the variable {variable} names another folder"
        yield from _guarded(name, remedy, partial(_folder, name, folder, remedy))
    yield from _guarded("components", "install vlm2vec-cli again", _components)
    if model is not None:
        yield from _guarded(f"-m {model}", "install what is missing", partial(_self_test, model))


def _guarded(name: str, remedy: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a check finds; a problem called `name` where it fails."""
    try:
        yield from check()
    except UserError as error:
        yield Finding(name, "problem", str(error), error.hint or "")
    except Exception as error:
        yield Finding(name, "problem", " ".join(f"{type(error).__name__}: {error}".split()), remedy)


def _installed(name: str, otherwise: Finding) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return otherwise


def _decoders() -> Iterator[Finding]:
    remedy = "videos: pip install {}"
    found = [
        one
        for name in DECODERS
        for one in _guarded(name, remedy.format(name), partial(_decoder, name, remedy.format(name)))
    ]
    yield from found
    if not any(one.status == "ok" for one in found):
        yield Finding("videos", "problem", "no decoder can be used", "pip install av")


def _decoder(name: str, remedy: str) -> Iterator[Finding]:
    try:
        importlib.import_module(name)
    except (ImportError, OSError) as error:
        yield Finding(name, "absent", (str(error).splitlines() or ["cannot be loaded"])[0], remedy)
    else:
        yield _installed(name, Finding(name, "ok", "of an unknown version"))


def _devices() -> Iterator[Finding]:
    import torch

    from vlm2vec_cli import encoder

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(gpus):
        yield from _guarded(f"cuda:{index}", "nvidia-smi shows what it is doing", partial(_gpu, index))
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU")
    elif not gpus:
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        yield Finding("gpu", "absent", f"torch {torch.__version__}, built {built}, sees none")
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} processors"
    yield Finding("cpu", "ok", f"{platform.machine()}, {threads}")
    dtype = encoder.pick_dtype("auto", encoder.pick_device("auto"))
    yield Finding("--dtype auto", "ok", str(dtype).removeprefix("torch."))


def _gpu(index: int) -> Iterator[Finding]:
    import torch

    free, total = torch.cuda.mem_get_info(index)
    name = torch.cuda.get_device_name(index)
    yield Finding(f"cuda:{index}", "ok", f"{name}, {_size(free)} of {_size(total)} free")


def _memory() -> Iterator[Finding]:
    try:
        page, names = os.sysconf("SC_PAGE_SIZE"), ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES")
        free, total = (os.sysconf(name) * page for name in names)
    except (AttributeError, OSError, ValueError):  # not every system counts them
        yield Finding("memory", "absent", "this system does not say")
    else:
        yield Finding("memory", "ok", f"{_size(free)} of {_size(total)} free")


def _model_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


FOLDERS: dict[str, tuple[Callable[[], Path], str]] = {
    "model cache": (_model_cache, "HF_HUB_CACHE"),
    "tar indices": (tar_index.cache_folder, "XDG_CACHE_HOME"),
    "temporary files": (lambda: Path(gettempdir()), "TMPDIR"),
}
"""What is kept in a folder, which one, and the variable that names another."""


def _folder(name: str, find: Callable[[], Path], remedy: str) -> Iterator[Finding]:
    folder = find()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free
    found = f"{folder}{'' if there == folder else ' (not made yet)'}, {_size(free)} free"
    if not os.access(there, os.W_OK):
        yield Finding(name, "problem", f"{folder} cannot be written", remedy)
    elif free < LEAST_DISK:
        yield Finding(name, "problem", found, remedy)
    else:
        yield Finding(name, "ok", found)


def _components() -> Iterator[Finding]:
    counts = [f"{len(plugins.names(kind))} {kind}" for kind in ("backbones", "losses", "metrics", "readers")]
    yield Finding("components", "ok", ", ".join(counts))


def _self_test(model: str) -> Iterator[Finding]:
    from vlm2vec_cli import encoder
    from vlm2vec_cli.media import MediaPolicy, MediaReader

    name, start = f"-m {model}", time.perf_counter()
    loaded = encoder.load(model, MediaReader(MediaPolicy()))
    contents: list[dict[str, Any]] = [{"text": "a red square"}, {"image": _red_square()}]
    inputs = [encoder.Input(content, Path.cwd(), "self-test") for content in contents]
    text, picture = (vector for vector in loaded.encode(inputs, _raise) if vector is not None)
    alike = float(text @ picture)
    if not -0.999 < alike < 0.999:  # so is NaN
        found = f"a text and a picture have vectors of cosine {alike:.3f}"
        yield Finding(name, "problem", found, "the weights are broken: fetch or train them again")
        return
    seconds = time.perf_counter() - start
    yield Finding(name, "ok", f"two vectors of {loaded.dim} numbers in {seconds:.1f} s")


def _red_square() -> str:
    """A data URI of 64 x 64 pixels."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _raise(error: UserError) -> None:
    raise error


def _size(count: float) -> str:
    """Bytes for people.

    >>> _size(3 << 29)
    '1.5 GiB'
    """
    return f"{count / (1 << 30):.1f} GiB"


def as_text(findings: list[Finding]) -> str:
    """A line each; the remedy follows what is not in order."""
    wide = max(len(one.name) for one in findings)
    lines = []
    for one in findings:
        lines.append(f"{one.status:<7}  {one.name:<{wide}}  {one.found}")
        if one.remedy:
            lines.append(f"{'':<7}  {'':<{wide}}  -> {one.remedy}")
    return "\n".join(lines) + "\n"
