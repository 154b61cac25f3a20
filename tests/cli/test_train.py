"""`vlm2vec train` as users run it: checkpoints of every kind that load, and what they have learnt."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import golden
from pairs import PICTURES, texts
from train_run import LORA, embed, train
from warm import Warm


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
