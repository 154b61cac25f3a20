"""The README is true: its help texts are current, its commands and code run, what it names exists."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pymupdf
import pytest
import typer
from PIL import Image

import golden
import readme
from reports import score_row
from runner import Runner
from vlm2vec_cli import app, errors, plugins
from vlm2vec_cli.readers import Raw, References
from vlm2vec_cli.schemas import KINDS

TEXT = readme.README.read_text(encoding="utf-8")
BLOCKS = readme.blocks(TEXT)
PROGRAMS = ("vlm2vec", *app.COMMANDS)
EXAMPLES = [(name, example) for name in app.COMMANDS for example in readme.examples_of(name)]
SHIPPED = readme.ROOT / "examples" / "quickstart" / "checkpoint"
RESULTS = re.compile(r"<!-- results -->\n(.*?)<!-- /results -->", re.DOTALL)


# ----------------------------------------------------------------------------------- what it says


def test_every_help_text_has_its_place() -> None:
    assert re.findall(r"<!-- help ([a-z0-9-]+) -->", TEXT) == list(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_help_text_is_current(name: str) -> None:
    (place,) = (found for found in readme.HELP.finditer(TEXT) if found[2] == name)
    assert place[0] == readme.current(place[0]), "run: make readme"


def named_files() -> Iterator[str]:
    """Relative links, and the paths of this tree that stand between backquotes."""
    prose = readme.FENCE.sub("", TEXT)
    yield from (link for link in re.findall(r"\]\(([^)#]+)\)", prose) if "://" not in link)
    for code in re.findall(r"`([^`\n]+)`", prose):
        for word in code.split():
            if word.startswith(("commands/", "examples/", "schemas/", "tests/", "vlm2vec_cli/")):
                yield word


@pytest.mark.parametrize("name", sorted(set(named_files())))
def test_what_it_names_exists(name: str) -> None:
    assert (readme.ROOT / name).exists()


def test_make_has_the_targets_that_it_names() -> None:
    makefile = (readme.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=[`\n])", TEXT))
    assert {"quickstart", "test"} <= named <= targets


def test_every_exit_code_is_in_the_table() -> None:
    codes = {error.exit_code for error in errors.UserError.__subclasses__()}
    codes |= {0, app.INTERRUPTED, app.TERMINATED, app.BUG}
    table = TEXT.partition("### Exit codes")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| ([0-9, ]+) \|", table, re.MULTILINE)
    assert sorted(codes) == [int(code) for one in listed for code in one.split(",")]


def test_every_kind_of_row_is_in_the_table() -> None:
    table = TEXT.partition("## Rows and streams")[2].partition("\n## ")[0]
    assert {kind.name for kind in KINDS} <= set(re.findall(r"^\| ([a-z]+) \|", table, re.MULTILINE))


def test_the_quickstart_table_has_the_numbers_of_the_catalogue() -> None:
    tasks = json.loads((SHIPPED.parent / "tasks.json").read_bytes())["tasks"]
    said = {}
    for names, queries, chance in re.findall(
        r"^\| (\w[\w, ]*) \| .* \| ([\d, ]+) \| ([\d.]+) \|$", TEXT, re.MULTILINE
    ):
        for name, number in zip(names.split(", "), queries.split(", "), strict=True):
            said[f"Quickstart_{name}"] = (int(number), float(chance))
    assert said == {task["name"]: (task["num_queries"], round(task["chance"] * 100, 1)) for task in tasks}


def test_there_is_a_place_for_the_results() -> None:
    assert len(RESULTS.findall(TEXT)) == 1


# ----------------------------------------------------------------------------------- its commands


def written() -> list[tuple[str, list[str]]]:
    """Every command line of the README, the help texts and the shipped scripts."""
    code = [block.code for block in BLOCKS if block.language in ("sh", "make")]
    code += re.findall(r"^    vlm2vec .*$", TEXT.partition("\n## ")[0], re.MULTILINE)
    code += [line for line in readme.help_of("vlm2vec").splitlines() if line.startswith("    vlm2vec")]
    code += [example for _, example in EXAMPLES]
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
    programs = vlm2vec.work / ".programs"
    programs.mkdir(exist_ok=True)
    for name, words in (("vlm2vec", '-m vlm2vec_cli "$@"'), ("python", '"$@"')):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
        (programs / name).chmod(0o755)
    environment = vlm2vec.env({"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})
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


SHORT = {
    "--max-steps 20 --batch-size 32": "--max-steps 1 --batch-size 4",
    "--task Quickstart_grounding": "--task Quickstart_grounding --limit 3",
    "--max-drop 0.2": "--max-drop 1",
    "-m quickstart": "-m runs/tour",
}


@pytest.mark.slow
def test_the_tour_and_the_commands_for_own_data_run_in_order(vlm2vec: Runner) -> None:
    photos = vlm2vec.work / "photos"
    photos.mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (64, 64), name).save(photos / f"{name}.png")
    with pymupdf.open() as document:
        document.new_page(width=200, height=200).insert_text((20, 50), "a page")
        document.save(vlm2vec.work / "report.pdf")
    vlm2vec.write("shop.csv", "sku,title,price,photo\n1,red,3,photos/red.png\n2,blue,4,photos/blue.png\n")
    said = [run(vlm2vec, replaced(block.code, SHORT)) for block in BLOCKS if block.runs]
    assert any("Quickstart_choice_vqa" in one for one in said)
    assert "(3, 192)" in said[-1]
    for name in ("report.html", "junit.xml", "shop.jsonl", "pairs.jsonl"):
        assert (vlm2vec.work / name).stat().st_size


@pytest.mark.slow
def test_the_makefile_scores_what_is_there_and_does_nothing_twice(vlm2vec: Runner) -> None:
    (makefile,) = (block.code for block in BLOCKS if block.language == "make")
    mmeb_v2(vlm2vec.work)
    vlm2vec.write("Makefile", makefile)
    run(vlm2vec, f"make MODEL={golden.MODEL}")
    assert "MSCOCO_i2t" in (vlm2vec.work / "report.html").read_text(encoding="utf-8")
    assert "up to date" in run(vlm2vec, f"make MODEL={golden.MODEL}")


# ----------------------------------------------------------------------------------- its code

CODE = [block.code for block in BLOCKS if block.language == "python"]


def component(word: str) -> dict[str, Any]:
    """What the README's file with `word` in it defines."""
    (code,) = (one for one in CODE if word in one)
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_there_is_an_example_of_each_component() -> None:
    assert len(CODE) == len(plugins.WORDS)
    assert all(code.startswith('"""') and "Source:" in code for code in CODE)


def test_the_metric() -> None:
    from naive import judged

    shown = component("NEEDS_CUTOFF")
    cases = [(["a", "b", "c"], {"a": 1.0, "b": 1.0}), (["c", "a", "b"], {"a": 1.0, "b": 1.0})]
    assert list(shown["measure"](judged(cases, 3), 2)) == [1.0, 0.0]


def test_the_loss() -> None:
    import torch

    shown = component("def loss")
    query, target = torch.eye(2), torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    found = shown["loss"](
        query,
        target,
        positive_B=torch.tensor([0, 2]),
        allowed_BN=torch.ones(2, 3, dtype=bool),
        temperature=0.2,
    )
    assert found.tolist() == pytest.approx([0.1, 0.0])
    from vlm2vec_cli.losses import info_nce

    assert (
        inspect.signature(shown["loss"]).parameters.keys()
        == inspect.signature(info_nce.loss).parameters.keys()
    )


def test_the_reader(tmp_path: Path) -> None:
    shown = component("Found(")
    raw = Raw(tmp_path, References(tmp_path), lambda error: None)
    entry = {"name": "mine"}
    assert not shown["found"](entry, raw).media
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").write_text("a red apple")
    assert shown["found"](entry, raw).media
    (query,), (candidate,) = (list(shown["read"](entry, raw, side)) for side in ("query", "candidate"))
    assert list(query["relevant"]) == [candidate["id"]] == [candidate["image"]]


def test_the_backbone() -> None:
    import torch

    shown = component("MODEL_TYPES")
    assert list(inspect.signature(shown["load"]).parameters) == [
        "weights",
        "tokenizer",
        "limits",
        "family",
        "dtype",
        "device",
    ]

    class Model:
        config, device = SimpleNamespace(hidden_size=2), "cpu"

        def __call__(self, ids: torch.Tensor) -> Any:
            return SimpleNamespace(last_hidden_state=torch.stack([ids, -ids], dim=-1).float())

    model = shown["TextOnly"](Model(), lambda text: {"input_ids": [len(text), 7]}, golden.LIMITS)
    encoded = model.encode({"text": "abc"}, Path(), None)
    assert encoded.ids.dtype == np.int64
    assert model.forward([encoded, encoded]).tolist() == [[7.0, -7.0]] * 2
