"""`vlm2vec embed` as users run it: the reference's vectors, layouts of checkpoints, options."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import golden
from embed_items import (
    ADAPTED,
    EXPECTED,
    IDS,
    SHORT,
    TOLERANCE,
    close,
    copy,
    embed,
    jsonl,
    refusal,
    rows,
    texts,
    tiny,
    vectors,
)
from warm import Warm


def test_a_base_folder_gives_the_references_vectors(warm: Warm) -> None:
    got = embed(warm, IDS, "-m", golden.MODEL)
    assert list(got) == IDS
    assert close(got, EXPECTED)


@pytest.mark.parametrize(("budget", "workers"), [("1", "0"), ("100", "1"), ("700", "3")])
def test_order_budget_and_workers_change_nothing(warm: Warm, budget: str, workers: str) -> None:
    names = [*SHORT[::-1]]
    got = embed(warm, names, "-m", golden.MODEL, "--batch-tokens", budget, "--workers", workers)
    assert list(got) == names
    assert close(got, EXPECTED)


def test_an_adapter_folder_finds_its_base_beside_it(warm: Warm) -> None:
    assert close(embed(warm, IDS, "-m", golden.ADAPTER), ADAPTED)


def test_a_base_and_an_adapter_named_apart(warm: Warm, tmp_path: Path) -> None:
    copy(golden.ADAPTER, tmp_path / "far" / "adapter")
    got = embed(warm, SHORT, "-m", golden.MODEL, "--adapter", "far/adapter")
    assert close(got, ADAPTED)


@pytest.mark.parametrize("layout", ["new", "bin", "magnitude with .weight"])
def test_adapters_of_other_library_versions(warm: Warm, tmp_path: Path, layout: str) -> None:
    copy(golden.MODEL, tmp_path / "tiny_qwen2vl")
    adapter = copy(golden.ADAPTER, tmp_path / "adapter")
    state = load_file(adapter / "adapter_model.safetensors")
    if layout == "new":
        state = {
            name.replace("model.model.layers", "model.model.language_model.layers"): value
            for name, value in state.items()
        }
        assert all("language_model" in name for name in state)
    elif layout.startswith("magnitude"):
        state = {
            f"{name}.weight" if name.endswith("magnitude_vector") else name: value
            for name, value in state.items()
        }
    if layout == "bin":
        (adapter / "adapter_model.safetensors").unlink()
        torch.save(
            {name: torch.from_numpy(value) for name, value in state.items()}, adapter / "adapter_model.bin"
        )
    else:
        save_file(state, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    assert close(embed(warm, SHORT[:4], "-m", "adapter"), ADAPTED)


def test_full_weights_win_over_a_spare_adapter(warm: Warm, tmp_path: Path) -> None:
    merged = copy(golden.MODEL, tmp_path / "merged")
    for path in golden.ADAPTER.iterdir():
        shutil.copy(path, merged)
    done = warm(
        "embed", "-m", "merged", "--dtype", "float32", "--format", "jsonl", stdin=jsonl(rows(IDS[:2]))
    )
    assert close(vectors(done), EXPECTED)
    assert done.stderr == (
        b"vlm2vec: warning: merged: full weights and an adapter; the weights are used, "
        b"the adapter is left out\n"
    )


def test_weights_in_bin_shards(warm: Warm, tmp_path: Path) -> None:
    folder = copy(golden.MODEL, tmp_path / "sharded")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names, places = sorted(state), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        name = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({one: torch.from_numpy(state[one]) for one in part}, folder / name)
        places.update(dict.fromkeys(part, name))
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert close(embed(warm, SHORT, "-m", "sharded"), EXPECTED)


def test_half_precision_points_the_same_way(warm: Warm) -> None:
    for name, vector in embed(warm, SHORT, "-m", golden.MODEL, "--dtype", "bfloat16").items():
        assert vector @ EXPECTED[name] > 0.999


def test_dim_cuts_and_normalises_again(warm: Warm) -> None:
    got = embed(warm, IDS[:2], "-m", golden.MODEL, "--dim", "16")
    for name, vector in got.items():
        cut = EXPECTED[name][:16] / np.linalg.norm(EXPECTED[name][:16])
        assert np.abs(vector - cut).max() <= 1e-4
    done = tiny(warm, texts(), "--dim", "65")
    assert refusal(done, 2) == ["vlm2vec: error: --dim: expected 1 to 64, got 65"]


def test_not_normalised_vectors_are_the_pooled_states(warm: Warm) -> None:
    got = embed(warm, IDS[:2], "-m", golden.MODEL, "--no-normalize")
    raw = dict(zip(IDS, golden.arrays()["pooled_single_raw"], strict=True))
    for name, vector in got.items():
        assert np.abs(vector - raw[name]).max() <= 1e-3


def test_precisions(warm: Warm) -> None:
    whole = vectors(tiny(warm, texts()))
    for precision, tolerance in (("float16", 1e-3), ("int8", 0.51)):
        done = tiny(warm, texts(), "--precision", precision)
        assert {row["precision"] for row in done.rows} == {precision}
        for name, vector in vectors(done).items():
            scale = 127 / np.abs(whole[name]).max() if precision == "int8" else 1
            assert np.abs(vector - whole[name] * scale).max() <= tolerance
    packed = vectors(tiny(warm, texts(), "--precision", "binary"))
    for name, vector in packed.items():
        assert np.array_equal(np.unpackbits(vector.astype(np.uint8)), whole[name] > 0)


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (
            ["--precision", "int4"],
            [
                "vlm2vec: error: --precision: unknown 'int4'",
                "hint: one of float32, float16, int8, binary",
            ],
        ),
        (
            ["--precision", "int8", "--no-normalize"],
            [
                "vlm2vec: error: --precision int8 needs normalised vectors",
                "hint: leave --no-normalize out",
            ],
        ),
        (
            ["--dtype", "float8"],
            [
                "vlm2vec: error: --dtype: unknown number type 'float8'",
                "hint: auto, float32, bfloat16, float16",
            ],
        ),
    ],
)
def test_options_that_do_not_exist(warm: Warm, args: list[str], lines: list[str]) -> None:
    assert refusal(warm("embed", "-m", golden.MODEL, *args, stdin=texts()), 2) == lines


def test_an_instruction_holds_for_rows_that_have_none(warm: Warm) -> None:
    own = {"text": "b", "instruction": "Own:"}
    got = vectors(tiny(warm, jsonl([{"text": "a"}, own]), "--instruction", "Find:"))
    expected = vectors(tiny(warm, jsonl([{"text": "Find: a"}, {"text": "Own: b"}])))
    for name, vector in got.items():
        assert np.abs(vector - expected[name]).max() <= TOLERANCE


def test_pixel_frame_and_token_limits_change_vectors_and_fingerprint(warm: Warm) -> None:
    row = [{**golden.content("v02_video_5f_text"), "id": "v"}, {"id": "t", "text": "one two three four five"}]
    plain = tiny(warm, jsonl(row), "--media-root", golden.ROOT).rows
    for args, number in (
        (["--max-pixels", "12544"], 0),
        (["--min-pixels", "200704"], 0),
        (["--num-frames", "2"], 0),
        (["--max-length", "2"], 1),
    ):
        changed = tiny(warm, jsonl(row), "--media-root", golden.ROOT, *args).rows
        assert changed[number]["embedding"] != plain[number]["embedding"], args
        assert changed[number]["fingerprint"] != plain[number]["fingerprint"], args


def test_media_are_found_beside_the_rows(warm: Warm, tmp_path: Path) -> None:
    shutil.copytree(golden.ROOT / "images", tmp_path / "data" / "images")
    warm.write("data/rows.jsonl", rows(["i10_rgba"]))
    assert close(vectors(tiny(warm, b"", "data/rows.jsonl")), EXPECTED)
    outside = jsonl([{"image": str(golden.ROOT / "images" / "tiny_10x12.png")}])
    assert tiny(warm, outside, "--trust-paths").exit_code == 0
    assert tiny(warm, outside).exit_code != 0


def test_tiny_is_made_from_its_input_and_its_seed(warm: Warm) -> None:
    first = warm("embed", "-m", "tiny", stdin=texts())
    assert first.exit_code == 0
    assert warm("embed", "-m", "tiny", stdin=texts()).stdout == first.stdout
    assert warm("embed", "-m", "tiny", "--seed", "1", stdin=texts()).stdout != first.stdout
