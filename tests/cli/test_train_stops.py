"""Runs of `vlm2vec train` that stop, go on, or are refused."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

import golden
from embed_items import jsonl, refusal
from pairs import PICTURES, texts
from runner import Done
from train_run import FEW, LORA, train
from warm import Warm

# --------------------------------------------------------------------------------------- stopping, going on


def test_a_signal_saves_and_the_same_command_goes_on(warm: Warm, tmp_path: Path) -> None:
    warm.write("pairs.jsonl", [*texts(4), *PICTURES])
    more = ("--schedule", "constant", "--augment", "light", "--chunk-tokens", "60")
    run = ("train", "pairs.jsonl", *LORA, *FEW, *more)
    with warm.talk(*run, "-o", "cut", "--max-steps", "100000") as talk:
        assert json.loads(talk.stdout.readline())["event"] == "start"
        os.kill(talk.process, signal.SIGTERM)
        events = [json.loads(line) for line in talk.stdout]
    assert talk.done
    assert talk.done.exit_code == 75
    assert [event["event"] for event in events[-2:]] == ["step", "checkpoint"]
    step = events[-1]["step"]
    assert talk.done.stderr.decode().splitlines() == [
        f"vlm2vec: error: stopped by SIGTERM after step {step}",
        "hint: run the same command again to go on",
    ]
    last = ("--max-steps", str(step + 2))
    rest = warm(*run, "-o", "cut", *last)
    assert rest.exit_code == 0
    assert rest.stderr.decode().splitlines() == [f"vlm2vec: going on from cut/checkpoint-{step}"]
    assert rest.rows[0]["first_step"] == step
    whole = warm(*run, "-o", "whole", *last)
    assert whole.exit_code == 0
    names = ("adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "vlm2vec.json")
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_other_data_options_and_models_are_refused(warm: Warm, tmp_path: Path) -> None:
    args = (*LORA, "-o", "run", "--max-steps", "2", "--save-steps", "1")
    assert train(warm, *args).exit_code == 0
    hint = "hint: --resume none starts anew, --allow-changed {} goes on"
    assert refusal(train(warm, *args, rows=texts(5)), 65) == [
        "vlm2vec: error: run/checkpoint-1: the training data is not what this run began with",
        hint.format("data"),
    ]
    for more, names in ((["--full", "--max-pixels", "9999"], "full, max_pixels, vision"),):
        assert refusal(train(warm, *args, *more), 2) == [
            f"vlm2vec: error: options differ from the run in run/checkpoint-1: {names}",
            hint.format("NAME"),
        ]
    shutil.copytree(golden.MODEL, tmp_path / "other")
    done = train(warm, *args, "-m", "other")
    assert refusal(done, 2)[0].endswith("run/checkpoint-1: model")
    anew = train(warm, *args, "--resume", "none", "--learning-rate", "1e-4")
    assert (anew.exit_code, anew.rows[0]["first_step"]) == (0, 0)
    on = train(warm, *args, "--resume", "run/checkpoint-1", "--learning-rate", "1e-4")
    assert (on.exit_code, on.rows[0]["first_step"]) == (0, 1)


# --------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ([], ["a checkpoint folder is needed", "-o DIR"]),
        (["-o", __file__], [f"-o {__file__}: a file, not a folder"]),
        (
            ["-o", "run", "--batch-size", "8", "--homogeneous", "3"],
            ["--homogeneous must divide --batch-size"],
        ),
        (
            ["-o", "run", "--loss", "info_nec"],
            [
                "unknown loss 'info_nec'",
                "did you mean 'info-nce'? known: hardness-weighted-info-nce, info-nce, symmetric-info-nce",
            ],
        ),
        (
            ["-o", "run", "--schedule", "step"],
            ["unknown schedule 'step'", "one of linear, cosine, constant"],
        ),
        (
            ["-o", "run", "-m", "tiny", "--lora"],
            ["tiny has no base that an adapter could be put on", "leave --lora out"],
        ),
        (["-o", "run", "--precision", "fp8"], ["--precision: unknown 'fp8'", "auto, bf16 or fp32"]),
        (["-o", "run", "--matryoshka", "a"], ["--matryoshka: expected numbers, got 'a'"]),
        (["-o", "run", "--matryoshka", "99"], ["--matryoshka: expected 1 to 64, got 99"]),
        (
            ["-o", "run", "--resume", "nowhere"],
            ["--resume nowhere: no training_state.pt there", "auto, none, or a checkpoint-N folder"],
        ),
    ],
)
def test_what_does_not_go_together(warm: Warm, args: list[str], lines: list[str]) -> None:
    fact, *hints = lines
    done = warm("train", "-m", golden.MODEL, *args, stdin=jsonl(texts(2)))
    assert refusal(done, 2) == [f"vlm2vec: error: {fact}", *(f"hint: {hint}" for hint in hints)]


def test_no_pairs_and_bad_pairs(warm: Warm) -> None:
    assert refusal(train(warm, *LORA, "-o", "run", rows=[]), 65) == ["vlm2vec: error: no pairs to train on"]
    bad = [*texts(2), {"query": {"text": "a"}, "positive": {}}]
    assert refusal(train(warm, *LORA, "-o", "run", rows=bad), 65)[0] == (
        "vlm2vec: error: stdin line 3: positive: expected text, image or video"
    )
    skipped = train(warm, *LORA, "-o", "run", "--max-steps", "1", "--on-error", "skip", rows=bad)
    assert (skipped.exit_code, skipped.rows[0]["pairs"]) == (65, 2)
    assert refusal(train(warm, *LORA, "-o", "run", rows=texts(1)), 65) == [
        "vlm2vec: error: stdin line 1: one pair without negatives: nothing to tell its positive from"
    ]
    itself = [*texts(2), {**texts(3)[2], "negatives": [texts(3)[2]["positive"]]}]
    assert refusal(train(warm, *LORA, "-o", "run", rows=itself), 65) == [
        "vlm2vec: error: stdin line 3: negative 1 equals the positive",
        "hint: --on-error skip leaves such rows out",
    ]
    missing = [*texts(2), {"query": {"image": "nowhere.png"}, "positive": {"text": "b"}}]
    done = train(warm, *LORA, "-o", "other", rows=missing)
    assert done.exit_code == 66
    assert done.stderr.startswith(b"vlm2vec: error: stdin line 3: image nowhere.png: ")


def test_a_loss_that_is_not_finite_is_said_with_its_rows(warm: Warm, tmp_path: Path) -> None:
    args = ("--full", "--learning-rate", "1e30", "--warmup-steps", "0", "--max-steps", "9")
    done = train(warm, *LORA, "-o", "run", *args, rows=texts(2))
    assert done.exit_code == 65
    assert done.stderr.decode().splitlines() in (
        [
            f"vlm2vec: error: stdin line {one}, stdin line {other}: {what} is nan at step 2",
            "hint: lower --learning-rate",
        ]
        for one, other in ((1, 2), (2, 1))
        for what in ("loss", "gradient norm")
    )
    assert not (tmp_path / "run").exists()


def test_the_reader_of_the_log_may_leave(warm: Warm) -> None:
    warm.write("pairs.jsonl", texts(4))
    with warm.talk("train", "pairs.jsonl", *LORA, *FEW, "-o", "run", "--max-steps", "100000") as talk:
        talk.stdout.readline()
        talk.stdout.close()
    assert talk.done == Done(0, b"", b"")
