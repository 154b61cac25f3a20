"""Shell code of the README in a test's folder, and a small MMEB-V2 that it finds there."""

import os
import subprocess
from pathlib import Path

import polars as pl
from PIL import Image

from runner import Runner, programs


def run(vlm2vec: Runner, code: str) -> str:
    """Runs shell code in the test's folder, with `vlm2vec` and `python` those of the tests; its stdout."""
    environment = vlm2vec.env({"PATH": f"{programs(vlm2vec.work)}{os.pathsep}{os.environ['PATH']}"})
    print(code)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code], cwd=vlm2vec.work, env=environment, capture_output=True
    )
    said = f"{done.stdout[-3000:].decode(errors='replace')}\n{done.stderr.decode(errors='replace')}"
    assert done.returncode == 0, said
    return done.stdout.decode(errors="replace")


def replaced(code: str, by: dict[str, str]) -> str:
    for old, new in by.items():
        code = code.replace(old, new)
    return code


def mmeb_v2(work: Path) -> None:
    """MMEB-V2 with two tasks of two rows."""
    root = work / "MMEB-V2"
    (root / "image-tasks" / "I").mkdir(parents=True)
    empty = {"qry_inst": "", "qry_text": "", "qry_img_path": "", "tgt_inst": "", "tgt_text": ["", ""]}
    captions, pictures = [], []
    for name, other in (("red", "blue"), ("blue", "red")):
        Image.new("RGB", (56, 56), name).save(root / "image-tasks" / "I" / f"{name}.jpg")
        asked = {"qry_inst": "<|image_1|>\nFind a caption:", "qry_img_path": f"I/{name}.jpg"}
        captions.append({**empty, **asked, "tgt_text": [name, other], "tgt_img_path": ["", ""]})
        asked = {"qry_inst": "Find a picture:", "qry_text": name, "tgt_inst": "<|image_1|>\nLook."}
        pictures.append({**empty, **asked, "tgt_img_path": [f"I/{name}.jpg", f"I/{other}.jpg"]})
    for task, rows in (("MSCOCO_i2t", captions), ("MSCOCO_t2i", pictures)):
        folder = root / "annotations" / task
        folder.mkdir(parents=True)
        pl.DataFrame(rows).write_parquet(folder / "test-00000-of-00001.parquet")
