"""What `prepare` says about damaged and hostile raw data: one line, and nothing half-written."""

import ctypes
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import raw_data
import raw_sets
import raw_tasks
from runner import Runner


def truncated_parquet(work: Path) -> None:
    raw_sets.mmeb_train(work / "data")
    path = work / "data/OK-VQA/original-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-30])


def cut_line(work: Path) -> None:
    raw_sets.llava_hound(work / "data")
    path = work / "data/video_instruction/train/sft/video_240k_caption_15k.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def evil_zip(work: Path) -> None:
    (work / "data").mkdir()
    with zipfile.ZipFile(work / "data/photos.zip", "w") as packed:
        packed.writestr("../../evil.png", raw_data.encoded())


def evil_tar(name: str, link: str = "") -> Callable[[Path], None]:
    def build(work: Path) -> None:
        (work / "data").mkdir()
        with tarfile.open(work / "data/photos.tar", "w") as tar:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)

    return build


@pytest.mark.parametrize(
    ("build", "args", "code", "said"),
    [
        (truncated_parquet, "mmeb-train --root data --subset OK-VQA", 65,
         "data/OK-VQA/original-00000-of-00001.parquet: not a readable Parquet file: "),
        (truncated_parquet, "table data/OK-VQA/original-00000-of-00001.parquet --map text=qry", 65,
         "data/OK-VQA/original-00000-of-00001.parquet: not a readable Parquet file: "),
        (cut_line, "llava-hound --root data --task video_qa_240k", 65,
         "data/video_instruction/train/sft/video_240k_caption_15k.jsonl line 2: not JSON: "),
        (evil_zip, "files data", 65, "data/photos.zip: the zip member '../../evil.png' leaves the archive"),
        (evil_tar("/etc/evil.png"), "files data", 65,
         "data/photos.tar: the tar member '/etc/evil.png' leaves the archive"),
        (evil_tar("a.png", "/etc/passwd"), "files data", 65,
         "data/photos.tar: the tar member 'a.png' is a link that leaves the archive: /etc/passwd"),
        (evil_tar("v/a.png", "../../b.png"), "files data", 65,
         "data/photos.tar: the tar member 'v/a.png' is a link that leaves the archive: ../../b.png"),
        (truncated_parquet, "mmeb-train --root data --subset OKVQA", 2, "no dataset 'OKVQA' in mmeb-train"),
        (truncated_parquet, "mix --root data --preset vlm2vec-v3", 2, "--preset: expected vlm2vec-v2, "),
        (truncated_parquet, "llava-hound --root data", 66, "no dataset of the catalogue is here"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_half_written(
    vlm2vec: Runner, build: Callable[[Path], None], args: str, code: int, said: str
) -> None:
    build(vlm2vec.work)
    done = vlm2vec("prepare", *args.split(), "-o", "rows.jsonl")
    error, *hint = done.stderr.decode().splitlines()
    assert (done.exit_code, done.stdout) == (code, b"")
    assert error.startswith("vlm2vec: error: ")
    assert said in error
    assert all(line.startswith("hint: ") for line in hint[:1])
    assert not (vlm2vec.work / "rows.jsonl").exists()
    partial = vlm2vec.work / "rows.jsonl.partial"
    assert all(json.loads(line) for line in (partial.read_text().splitlines() if partial.exists() else ()))


BOUND = """
import ctypes, os, sys
for capability in (1, 2):  # to read and to look into what the mode does not allow
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "vlm2vec_cli", *sys.argv[1:]])
"""
"""The program without what lets root read everything."""


@pytest.fixture
def bound(vlm2vec: Runner) -> Runner:
    """The program, which modes of files hold for, whoever runs the tests."""
    if os.geteuid() != 0:
        return vlm2vec
    if not hasattr(ctypes.CDLL(None), "prctl"):
        pytest.skip("root reads everything, and this system has no prctl to take that from it")
    return Runner(vlm2vec.work, (sys.executable, "-c", BOUND))


@pytest.mark.parametrize(
    ("locked", "args"),
    [
        ("images", "files data/images"),
        ("images/VisDial/Train", "mmeb-train --root data --subset VisDial"),
        ("VisDial", "mmeb-train --root data --subset VisDial"),
        ("VisDial", "mmeb-train --root data --subset VisDial --list"),
        ("annotations/VOC2007", "mmeb-v2 --root data --task VOC2007"),
    ],
)
def test_a_folder_without_permission_is_one_line(bound: Runner, locked: str, args: str) -> None:
    raw_sets.mmeb_train(bound.work / "data")
    raw_tasks.mmeb_v2(bound.work / "data", "VOC2007")
    folder = bound.work / "data" / locked
    folder.chmod(0)
    done = bound("prepare", *args.split())
    folder.chmod(0o700)
    assert (done.exit_code, done.stdout) == (66, b"")
    (error,) = done.stderr.decode().splitlines()
    assert error == f"vlm2vec: error: data/{locked}: cannot be read: Permission denied"
