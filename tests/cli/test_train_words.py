"""How a run of `vlm2vec train` is described: files, presets, other names, and the plan before it starts."""

import json
from pathlib import Path
from typing import Any

import pytest

import golden
from pairs import PICTURES, texts
from vlm2vec_cli.schemas.event import EVENT
from warm import Warm

BASE = ("-m", golden.MODEL, "--media-root", golden.ROOT, "--device", "cpu")


def plan(warm: Warm, *args: str | Path, rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    path = warm.write("pairs.jsonl", [*texts(6), *PICTURES] if rows is None else rows)
    done = warm("train", path, *BASE, "--precision", "fp32", "--dry-run", "-q", *args)
    assert (done.exit_code, done.stderr) == (0, b"")
    (event,) = done.rows
    assert event["event"] == "plan"
    assert event.keys() <= {"schema", *(field.name for field in EVENT.fields)}
    assert EVENT.parse({**event}, "1")
    return event


def test_the_plan_says_what_would_be_done(warm: Warm, tmp_path: Path) -> None:
    rows = [{**row, "dataset": name} for name, row in zip("aaabbb", texts(6), strict=True)]
    found = plan(warm, "--batch-size", "4", "--epochs", "2", "--lora-r", "2", rows=rows)
    assert found["datasets"] == {"a": {"rows": 3, "share": 0.5}, "b": {"rows": 3, "share": 0.5}}
    assert (found["pairs"], found["steps"], found["epochs"], found["batch_size"]) == (6, 3, 2, 4)
    assert 0 < found["trainable_parameters"] < found["parameters"] / 10
    assert found["tokens_per_step"] > 4
    assert found["memory_mb"] >= 0
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.jsonl"}, "nothing is written"
    twice = plan(warm, "--dataset-weight", "a=2", "--batch-size", "3", rows=rows)
    assert twice["datasets"]["a"]["share"] == pytest.approx(2 / 3, abs=1e-6)
    assert twice["steps"] == 3
    assert plan(warm, "--rows-per-dataset", "2", rows=rows)["pairs"] == 4
    assert plan(warm, "--rows-per-dataset", "2", "--rows-per-dataset", "b=1", rows=rows)["pairs"] == 3
    assert plan(warm, "--preset", "vlm2vec-v1", rows=rows)["pairs"] == 6


def test_command_line_over_file_over_preset(warm: Warm) -> None:
    warm.write("run.toml", 'preset = "vlm2vec-v2"\nbatch-size = 6\nlora = true\nlora_r = 4\nmax_steps = 7\n')
    with_file = plan(warm, "--config", "run.toml", "--homogeneous", "2")
    assert (with_file["batch_size"], with_file["steps"]) == (6, 7)
    over = plan(warm, "--max-steps", "9", "--config", "run.toml", "--homogeneous", "2")
    assert over["steps"] == 9
    preset = plan(warm, "--preset", "vlm2vec-v2", "--max-steps", "2")
    assert (preset["batch_size"], preset["steps"]) == (1024, 2)
    narrower = plan(warm, "--lora-r", "4", "--lora-targets", "vlm2vec-v2", "--max-steps", "2")
    assert with_file["trainable_parameters"] == narrower["trainable_parameters"]


def test_names_of_the_published_trainer(warm: Warm) -> None:
    ours = plan(warm, "--batch-size", "4", "--epochs", "3", "--lora-r", "2", "--lora-targets", "q_proj")
    theirs = plan(
        warm,
        *("--batch_size", "4", "--num_train_epochs", "3", "--lora_r", "2", "--lora_target_modules", "q_proj"),
    )
    timed = ("seconds_per_step", "hours", "memory_mb")
    assert {k: v for k, v in ours.items() if k not in timed} == {
        k: v for k, v in theirs.items() if k not in timed
    }


@pytest.mark.parametrize(
    ("text", "code", "lines"),
    [
        ("batch-sise = 3", 2, ["run.toml: unknown option 'batch-sise'", "did you mean 'batch-size'"]),
        ("batch-size = [", 65, ["run.toml: not TOML: ", ""]),
        ('preset = "vlm2vec-v3"', 2, ["unknown preset 'vlm2vec-v3'", "did you mean 'vlm2vec-v2'"]),
    ],
)
def test_files_that_say_nothing_known(warm: Warm, text: str, code: int, lines: list[str]) -> None:
    warm.write("run.toml", text)
    done = warm("train", *BASE, "-o", "run", "--config", "run.toml", stdin=b"")
    assert (done.exit_code, done.stdout) == (code, b"")
    said = done.stderr.decode().splitlines()
    assert said[0].startswith(f"vlm2vec: error: {lines[0]}")
    assert not lines[1] or said[1].startswith(f"hint: {lines[1]}")


def test_a_file_that_is_not_there(warm: Warm) -> None:
    done = warm("train", "--config", "none.toml", stdin=b"")
    assert done.exit_code == 66
    assert done.stderr.startswith(b"vlm2vec: error: none.toml: no such file\n")


@pytest.mark.parametrize(
    ("args", "fact", "hint"),
    [
        (["--dataset-weight", "b=2"], "--dataset-weight: no dataset 'b'", "there are default"),
        (["--dataset-weight", "default"], "--dataset-weight: expected NAME=NUMBER, got 'default'", None),
        (
            ["--homogeneous", "a=2"],
            "--homogeneous: unknown modality 'a'",
            "one of text, image, video, visdoc",
        ),
        (["--homogeneous", "x"], "--homogeneous: expected N or MODALITY=N, got 'x'", None),
        (["--rows-per-dataset", "b=2"], "--rows-per-dataset: no dataset 'b'", "there are default"),
        (["--rows-per-dataset", "x"], "--rows-per-dataset: expected numbers, got 'x'", None),
        (["--rows-per-dataset", "default=0"], "--rows-per-dataset must be at least 1", None),
        (["--loss-option", "alpha=1"], "--loss-option: info_nce has no 'alpha'", "it has none"),
        (["--report-to", "wandbb"], "--report-to: unknown 'wandbb'", "did you mean 'wandb'? known: "),
        (["--eval-steps", "5"], "--eval-steps needs --eval FILE", None),
        (["--early-stopping", "2"], "--early-stopping needs --eval-steps", None),
        (
            ["--matryoshka", "8,4", "--matryoshka-weights", "1"],
            "--matryoshka-weights must be as many as",
            None,
        ),
    ],
)
def test_words_that_mean_nothing(warm: Warm, args: list[str], fact: str, hint: str | None) -> None:
    rows = b"".join(json.dumps(row).encode() + b"\n" for row in texts(2))
    done = warm("train", *BASE, "-o", "run", *args, stdin=rows)
    assert (done.exit_code, done.stdout) == (2, b"")
    said = done.stderr.decode().splitlines()
    assert said[0].startswith(f"vlm2vec: error: {fact}")
    assert hint is None or said[1].startswith(f"hint: {hint}")
