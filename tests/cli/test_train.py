"""`vlm2vec train` as users run it: checkpoints that load, runs that stop and go on, refusals."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import golden
from pairs import PICTURES, texts
from runner import Done
from warm import Warm

LORA = ("-m", golden.MODEL, "--media-root", golden.ROOT, "--lora-r", "2")
FEW = ("--batch-size", "4", "--warmup-steps", "1", "--precision", "fp32", "--device", "cpu")


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def train(warm: Warm, *args: str | Path, rows: list[dict[str, Any]] | None = None) -> Done:
    return warm("train", *FEW, *args, stdin=jsonl(texts(6) if rows is None else rows))


def embed(warm: Warm, *args: str | Path, rows: list[dict[str, Any]]) -> np.ndarray:
    done = warm("embed", "--dtype", "float32", "--format", "jsonl", *args, stdin=jsonl(rows))
    assert (done.exit_code, done.stderr) == (0, b"")
    return np.array([row["embedding"] for row in done.rows])


def refusal(done: Done, code: int) -> list[str]:
    assert (done.exit_code, done.stdout) == (code, b"")
    return done.stderr.decode().splitlines()


# ----------------------------------------------------------------------------------------------- checkpoints


def test_tiny_becomes_a_checkpoint_that_embed_loads(warm: Warm, tmp_path: Path) -> None:
    done = train(warm, "-m", "tiny", "-o", "run", "--max-steps", "2")
    assert (done.exit_code, done.stderr) == (0, b"")
    assert [row["event"] for row in done.rows] == ["start", "step", "step", "end"]
    assert {row["schema"] for row in done.rows} == {"vlm2vec/event@1"}
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vlm2vec.json",
    }
    meta = json.loads((tmp_path / "run" / "vlm2vec.json").read_text())
    assert (meta["base_model"], meta["step"], meta["dataset_counts"]) == ("tiny", 2, {"default": 6})
    vectors = embed(warm, "-m", "run", rows=[{"text": "what is apple"}, {"text": "what is pear"}])
    assert vectors.shape[0] == 2
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)

    again = train(warm, "-m", "tiny", "-o", "again", "--max-steps", "2")
    other = train(warm, "-m", "tiny", "-o", "other", "--max-steps", "2", "--seed", "1")
    assert again.exit_code == other.exit_code == 0
    first, second, third = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again", "other")
    )
    assert first == second
    assert first != third


def test_no_steps_leave_the_untrained_model(warm: Warm) -> None:
    rows = texts(3)
    assert train(warm, "-m", "tiny", "-o", "run", "--max-steps", "0", rows=rows).exit_code == 0
    items = [row[side] for row in rows for side in ("query", "positive")]
    assert np.array_equal(embed(warm, "-m", "run", rows=items), embed(warm, "-m", "tiny", rows=items))


@pytest.mark.parametrize("kind", [["--full"], ["--dora"], ["--no-dora", "--lora-targets", "q_proj,up_proj"]])
def test_checkpoints_of_every_kind_reload_and_differ(warm: Warm, tmp_path: Path, kind: list[str]) -> None:
    done = train(
        warm, *LORA, "-o", "run", "--max-steps", "2", "--learning-rate", "0.01", *kind, rows=PICTURES
    )
    assert (done.exit_code, done.stderr) == (0, b"")
    query = [PICTURES[0]["query"], {"text": "a"}]
    root = ("--media-root", golden.ROOT)
    after = embed(warm, "-m", "run", *root, rows=query)
    before = embed(warm, "-m", golden.MODEL, *root, rows=query)
    assert np.abs(after - before).max() > 1e-3
    if kind != ["--full"]:
        config = json.loads((tmp_path / "run" / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(golden.MODEL)
        assert config["use_dora"] == (kind == ["--dora"])
        apart = embed(warm, "-m", golden.MODEL, "--adapter", "run", *root, rows=query)
        assert np.array_equal(after, apart)


@pytest.mark.slow
def test_a_merged_model_is_the_adapters(warm: Warm, tmp_path: Path) -> None:
    args = (*LORA, "--max-steps", "2", "--learning-rate", "0.01", "--vision", "merger")
    for out, more in (("apart", []), ("merged", ["--merge"])):
        done = train(warm, *args, "-o", out, *more, rows=PICTURES)
        assert (done.exit_code, done.stderr) == (0, b"")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    query, root = [PICTURES[0]["query"], {"text": "a"}], ("--media-root", golden.ROOT)
    apart, merged = (embed(warm, "-m", name, *root, rows=query) for name in ("apart", "merged"))
    assert np.allclose(apart, merged, atol=1e-5)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "library_name: transformers" in card


def test_an_adapter_is_trained_further(warm: Warm, tmp_path: Path) -> None:
    args = ("-m", golden.ADAPTER, "-o", "run", "--max-steps", "1", "--lora-dropout", "0", "--lora-r", "4")
    done = train(warm, *args, "--lora-targets", "q_proj", "--learning-rate", "0.01")
    assert done.exit_code == 0
    *numbers, targets = done.stderr.decode().splitlines()
    assert numbers == [
        "vlm2vec: warning: --lora-r: the adapter keeps its own, 16",
        "vlm2vec: warning: --lora-dropout: the adapter keeps its own, 0.1",
    ]
    assert targets.startswith(
        "vlm2vec: warning: --lora-targets: the adapter keeps its own, down_proj, gate_proj"
    )
    before = load_file(golden.ADAPTER / "adapter_model.safetensors")
    after = load_file(tmp_path / "run" / "adapter_model.safetensors")
    assert len(after) == len(before) == 84
    config = json.loads((tmp_path / "run" / "adapter_config.json").read_text())
    assert config["r"] == 16, "the adapter's own rank"
    meta = json.loads((tmp_path / "run" / "vlm2vec.json").read_text())
    own = ("lora_r", "lora_alpha", "lora_dropout", "dora")
    named = ("r", "lora_alpha", "lora_dropout", "use_dora")
    assert [meta["options"][name] for name in own] == [config[name] for name in named]
    assert meta["options"]["lora_targets"] == sorted(config["target_modules"])
    assert meta["adapter"] == str(golden.ADAPTER)
    assert Path(config["base_model_name_or_path"]) == golden.MODEL.resolve()
    assert embed(warm, "-m", "run", rows=[{"text": "a"}]).shape == (1, 64)


def test_an_adapter_with_the_usual_options_is_trained_further_without_a_word(warm: Warm) -> None:
    done = train(warm, "-m", golden.ADAPTER, "-o", "run", "--max-steps", "1")
    assert (done.exit_code, done.stderr) == (0, b"")


def test_a_folder_holds_the_model_of_its_last_run(warm: Warm) -> None:
    assert train(warm, *LORA, "-o", "run", "--max-steps", "1", "--full").exit_code == 0
    assert train(warm, *LORA, "-o", "run", "--max-steps", "1").exit_code == 0
    done = warm("embed", "-m", "run", "--format", "jsonl", stdin=b'{"text": "a"}\n')
    assert (done.exit_code, done.stderr) == (0, b"")


def test_thirty_two_pairs_are_learnt_by_heart(warm: Warm) -> None:
    rows = texts(16)
    for word in (row["query"]["text"].split()[-1] for row in texts(16)):
        rows.append({"query": {"text": f"where is {word}"}, "positive": {"text": f"{word[1:]} {word[-3:]}"}})
    args = ("--batch-size", "32", "--max-steps", "40", "--learning-rate", "0.002", "--warmup-steps", "5")
    done = train(warm, "-m", "tiny", "-o", "run", *args, rows=rows)
    assert done.exit_code == 0
    losses = [row["loss"] for row in done.rows if row["event"] == "step"]
    assert losses[-1] < 0.1 < losses[0]
    queries = embed(warm, "-m", "run", rows=[row["query"] for row in rows])
    targets = embed(warm, "-m", "run", rows=[row["positive"] for row in rows])
    hits = (queries @ targets.T).argmax(axis=1) == np.arange(32)
    assert hits.mean() == 1


@pytest.mark.slow
def test_hard_negatives_of_any_number_and_every_option_of_the_loss(warm: Warm) -> None:
    rows = texts(6)
    for number, row in enumerate(rows):
        row["negatives"] = [{"text": f"not {number} {one}"} for one in range(number % 4)]
        row["weight"] = 1 + number
        row["dataset"] = "ab"[number % 2]
    args = (*LORA, "--max-steps", "2", "--lora-dropout", "0")
    plain = train(warm, *args, "-o", "plain", rows=rows).rows
    losses = {plain[1]["loss"]}
    for number, more in enumerate(
        (
            ["--num-hard-negatives", "1"],
            ["--loss", "symmetric-info-nce"],
            ["--matryoshka", "64,16"],
            ["--temperature", "0.1"],
            ["--homogeneous", "2"],
        )
    ):
        done = train(warm, *args, "-o", str(number), *more, rows=rows)
        assert (done.exit_code, done.stderr) == (0, b"")
        losses.add(done.rows[1]["loss"])
    assert len(losses) == 6, "each option changes the loss"


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
