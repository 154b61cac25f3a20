"""The tour and the recipes of the README run: in order, on miniatures, or in a file named here."""

import itertools
import os
import re
import shlex
import subprocess

import pymupdf
import pytest
from PIL import Image

import golden
import raw_sets
import readme
from readme_files import mmeb_v2, replaced, run
from runner import Runner, programs
from warm import Warm

BLOCKS = readme.BLOCKS


SHORT = {
    "--max-steps 20 --batch-size 32": "--max-steps 1 --batch-size 4",
    "--task Quickstart_grounding": "--task Quickstart_grounding --limit 3",
    "--max-drop 0.2": "--max-drop 1",
    "-m quickstart": "-m runs/tour",
}


def steps(warm: Warm, code: str) -> str:
    """As `run`, without the start-up of each `vlm2vec`; what all of them write to stdout."""
    env: dict[str, str] = {}
    said = ""
    for line in re.findall(r"(?:[^\n'\"]|'[^']*'|\"[^\"]*\")+", code.replace("\\\n", " ")):
        words = shlex.split(line)
        if words[0] == "export":
            env.update(word.split("=", 1) for word in words[1:])
        elif words[0] != "vlm2vec":
            said += run(warm, line)
        else:
            streams = dict(itertools.pairwise(words))
            files = {mark: streams[mark] for mark in "<>" if mark in streams}
            kept = [word for word in words[1:] if word not in {*files, *files.values()}]
            stdin = (warm.work / files["<"]).read_bytes() if "<" in files else b""
            done = warm(*kept, stdin=stdin, env=env)
            assert done.exit_code == 0, line
            if ">" in files:
                (warm.work / files[">"]).write_bytes(done.stdout)
            else:
                said += done.stdout.decode()
    return said


@pytest.mark.slow
def test_the_tour_and_the_recipes_run_in_order(warm: Warm) -> None:
    photos = warm.work / "photos"
    photos.mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (64, 64), name).save(photos / f"{name}.png")
    with pymupdf.open() as document:
        document.new_page(width=200, height=200).insert_text((20, 50), "a page")
        document.save(warm.work / "report.pdf")
    warm.write("shop.csv", "sku,title,price,photo\n1,red,3,photos/red.png\n2,blue,4,photos/blue.png\n")
    said = [steps(warm, replaced(block.code, SHORT)) for block in BLOCKS if block.runs]
    assert any("Quickstart_choice_vqa" in one for one in said)
    assert any("(3, 192)" in one for one in said)
    for name in ("report.html", "junit.xml", "shop.jsonl", "pairs.jsonl", "runs/shop/vlm2vec.json"):
        assert (warm.work / name).stat().st_size


# Blocks that cannot run as they stand: what stands in for large models, many steps and many GPUs.
MINIATURE = {
    "VLM2Vec/VLM2Vec-V2.0": str(golden.MODEL),
    "ANOTHER_MODEL": str(golden.MODEL),
    "train mined.jsonl": f"train mined.jsonl -m {golden.MODEL}",
    "train mix.jsonl": f"train mix.jsonl -m {golden.MODEL}",
    "--preset vlm2vec-v2": "--preset vlm2vec-v2 --batch-size 4 --homogeneous 2 --max-steps 1 --lora-r 2",
    "--homogeneous 64": "--homogeneous 2 --batch-size 4 --lora-r 2",
    "--max-steps 5000": "--max-steps 1",
    "--num-processes 8": "--num-processes 1",
}
RECIPES = {
    "prepare mmeb-train": ("mix.jsonl", "runs/mix/vlm2vec.json", "mix.log.jsonl"),
    "--rescore": ("audit.html", "mined.json"),
    "prepare mix": ("runs/v2/vlm2vec.json", "v2.log.jsonl", "scores.jsonl", "report.html"),
    "prepare sgg": ("relations.jsonl", "graphs.jsonl"),
    "--model-config": ("vectors.parquet",),
}
# Blocks that run elsewhere, and the file that runs them.
ELSEWHERE = {
    "make quickstart": ".ci/run",
    "pip install .": "tests/test_packaging.py",
    "examples/make/Makefile": "tests/cli/test_examples.py",
    "examples/ci/regression.sh": "tests/cli/test_examples.py",
    "examples/slurm/": "tests/cli/test_slurm.py",
    "examples/ray/embed_dataset.py": "tests/cli/test_ray.py",
}
REST = [block.code for block in BLOCKS if block.language == "sh" and not block.runs]


def test_every_block_of_commands_has_its_test() -> None:
    for code in REST:
        found = [mark for mark in (*RECIPES, *ELSEWHERE) if mark in code]
        assert found, code
        subprocess.run(["bash", "-n", "-c", code], check=True)
    named = "".join(REST)
    assert all(mark in named for mark in (*RECIPES, *ELSEWHERE))
    assert all((readme.ROOT / path).is_file() for path in ELSEWHERE.values())


@pytest.mark.slow
@pytest.mark.parametrize("mark", RECIPES)
def test_a_recipe_runs_on_miniatures(warm: Warm, mark: str) -> None:
    work = warm.work
    golden_models = golden.ROOT.parent / "backbones" / "phi3_v"
    (work / "models").mkdir()
    for name, folder in (
        ("my-gme", golden.MODEL),
        ("my-adapter", golden_models / "adapter"),
        ("Phi-3.5-vision-instruct", golden_models / "tiny"),
    ):
        (work / "models" / name).symlink_to(folder)
    raw_sets.mmeb_train(work / "MMEB-train")
    (work / "data").mkdir()
    mmeb_v2(work / "data")
    raw_sets.mmeb_train(work / "data" / "MMEB-train")
    raw_sets.scene_graph(work / "VG")
    (work / "train.json").symlink_to(work / "VG" / "train.json")
    (work / "test.json").symlink_to(work / "VG" / "eval.json")
    words = ("apple", "bridge", "cloud", "drum", "eagle", "ferry", "grape", "horse", "island", "jacket")
    warm.write("rows.jsonl", [{"text": word} for word in words])
    if mark == "--rescore":
        pairs = [{"query": {"text": f"what is {word}"}, "positive": {"text": word}} for word in words]
        warm.write("mix.jsonl", pairs)
    candidates = [{"id": word, "role": "candidate", "text": word} for word in words]
    queries = [{"id": word, "text": f"find {word}", "relevant": {word: 1}} for word in words]
    warm.write("test.jsonl", [*queries, *candidates])
    (code,) = (one for one in REST if mark in one)
    steps(warm, replaced(code, MINIATURE))
    for name in RECIPES[mark]:
        assert (work / name).stat().st_size


def test_the_makefile_ends_with_a_word_where_no_task_is(vlm2vec: Runner) -> None:
    (makefile,) = (block.code for block in BLOCKS if block.language == "make")
    vlm2vec.write("Makefile", makefile)
    path = f"{programs(vlm2vec.work)}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["make"], cwd=vlm2vec.work, env=vlm2vec.env({"PATH": path}), stdin=subprocess.DEVNULL,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"no task is under MMEB-V2" in done.stderr


@pytest.mark.slow
def test_the_makefile_scores_what_is_there_and_does_nothing_twice(vlm2vec: Runner) -> None:
    (makefile,) = (block.code for block in BLOCKS if block.language == "make")
    mmeb_v2(vlm2vec.work)
    vlm2vec.write("Makefile", makefile)
    run(vlm2vec, f"make MODEL={golden.MODEL}")
    assert "MSCOCO_i2t" in (vlm2vec.work / "report.html").read_text(encoding="utf-8")
    assert "up to date" in run(vlm2vec, f"make MODEL={golden.MODEL}")
