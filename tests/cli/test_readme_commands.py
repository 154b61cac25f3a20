"""The command lines of the README and of the scripts are well formed; the examples of the help texts run."""

import re
from typing import Any

import polars as pl
import pymupdf
import pytest
import typer
from PIL import Image

import golden
import readme
from readme_files import mmeb_v2, replaced, run
from reports import score_row
from runner import Runner
from vlm2vec_cli import app

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
