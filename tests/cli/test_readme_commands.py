"""The commands of the README, of the help texts and of the examples run; where and how is said for each."""

import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pymupdf
import pytest
import typer
from PIL import Image

import golden
import raw_sets
import readme
from reports import score_row
from runner import Runner, programs
from vlm2vec_cli import app
from warm import Warm

BLOCKS = readme.BLOCKS
EXAMPLES = [(name, example) for name in app.COMMANDS for example in readme.examples_of(name)]
SHIPPED = readme.ROOT / "examples" / "quickstart" / "checkpoint"


def written() -> list[tuple[str, list[str]]]:
    """Every command line of the README, the help texts and the shipped scripts."""
    code = [block.code for block in BLOCKS if block.language in ("sh", "make")]
    code += re.findall(r"^    vlm2vec .*$", readme.TEXT.partition("\n## ")[0], re.MULTILINE)
    code += [line for line in readme.help_of("vlm2vec").splitlines() if line.startswith("    vlm2vec")]
    code += [example for _, example in EXAMPLES]
    code += re.findall(r"`([^`\n]*\bvlm2vec [a-z][^`\n]*)`", readme.FENCE.sub("", readme.TEXT))
    scripts = [path.read_text(encoding="utf-8") for path in sorted(SHIPPED.parent.glob("*.sh"))]
    code += [
        line
        for one in scripts
        for line in one.replace("\\\n", " ").splitlines()
        if line.startswith("vlm2vec ")
    ]
    return [(" ".join(words), words) for block in code for words in readme.commands(block)]


WRITTEN = dict(written())


def test_every_command_has_two_examples_and_the_readme_shows_them_all() -> None:
    assert [name for name, _ in EXAMPLES] == [name for name in app.COMMANDS for _ in range(2)]
    assert {words[0] for words in WRITTEN.values()} == {*app.COMMANDS, "--version"}


@pytest.mark.parametrize("line", sorted(WRITTEN))
def test_the_options_of_a_command_line_exist(line: str) -> None:
    name, *words = WRITTEN[line]
    if name != "--version":
        group: Any = typer.main.get_command(app.app)
        group.commands[name].make_context(name, words)


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


@pytest.fixture
def made(vlm2vec: Runner) -> Runner:
    """A folder with the files that the examples of the help texts name."""
    work = vlm2vec.work
    mmeb_v2(work)
    Image.new("RGB", (56, 56), "red").save(work / "x.png")
    vlm2vec.write("qa.csv", "question,answer\nWhat is red?,an apple\n")
    words = ("apple", "bridge", "cloud", "drum", "eagle", "ferry", "grape", "horse", "island", "jacket")
    pairs = [{"query": {"text": f"what is {word}"}, "positive": {"text": word}} for word in words]
    vlm2vec.write("pairs.jsonl", pairs)
    (work / "vectors.parquet").write_bytes(
        (golden.ROOT.parent / "shared_mini" / "vectors.jsonl").read_bytes()
    )
    vlm2vec.write("bm25.trec", "q1 Q0 a 1 2.5 bm25\nq1 Q0 b 2 1.5 bm25\n")
    vlm2vec.write("qrels.tsv", "q1\ta\t1\n")
    for name in ("untrained", "trained", "scores"):
        vlm2vec.write(f"{name}.jsonl", [score_row("MSCOCO_i2t", 0.9, name)])
    return vlm2vec


SMALL = {
    "prepare quickstart --split train": "prepare quickstart --split train --task Quickstart_kind --limit 4",
    "prepare quickstart |": "prepare quickstart --task Quickstart_choice_vqa --limit 2 |",
    "embed |": f"embed -m {golden.MODEL} |",
    "-o runs/tiny --max-steps 20": "-o tiny --max-steps 1 --batch-size 2",
    "-o runs/mine --max-steps 1000": "-o mine --max-steps 1 --batch-size 2",
    "Qwen/Qwen2-VL-2B-Instruct": str(golden.MODEL),
    "--dim 1536,256": "--dim 16,8",
}
if not SHIPPED.is_dir():
    SMALL["-m quickstart"] = f"-m {golden.MODEL}"


@pytest.mark.parametrize("example", [example for _, example in EXAMPLES])
def test_an_example_of_a_help_text_runs(made: Runner, example: str) -> None:
    run(made, replaced(example, SMALL))
    for output in re.findall(r"(?:-o|>) ([\w.]+)$", example):
        assert (made.work / output).stat().st_size


def test_the_pipeline_of_the_programs_own_help_runs(made: Runner) -> None:
    (line,) = re.findall(r"^    (vlm2vec prepare .*)$", readme.help_of("vlm2vec"), re.MULTILINE)
    assert "MSCOCO_i2t" in run(made, replaced(line, SMALL))


def test_documents_found_by_the_shell_are_embedded_through_a_pipe(made: Runner) -> None:
    (line,) = re.findall(r"`(find [^`]*)`", readme.TEXT)
    with pymupdf.open() as document:
        for text in ("one", "two"):
            document.new_page(width=100, height=100).insert_text((20, 50), text)
        document.save(made.work / "x.pdf")
    run(made, line.replace("embed", f"embed -m {golden.MODEL}"))
    assert pl.read_parquet(made.work / "pages.parquet")["id"].to_list() == ["x.pdf#page=1", "x.pdf#page=2"]


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
