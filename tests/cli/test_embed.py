"""`vlm2vec embed` as users run it: the reference's vectors, options, formats, bad rows and bad models."""

import json
import os
import pty
import shutil
import struct
import subprocess
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

import golden
from runner import Done, Runner
from warm import Warm

IDS = golden.facts()["ids"]
EXPECTED = dict(zip(IDS, golden.arrays()["emb_single"], strict=True))
ADAPTED = dict(zip(IDS, golden.arrays()["emb_single_adapter_merged"], strict=True))
SHORT = [name for name in IDS if name not in ("i02_cls_448",)]  # the largest picture costs most of the time
TOLERANCE = 2e-5
TEXTS = ["a red apple", "a green tree", "two dogs and a cat", "the harbour at night"]


def rows(names: list[str]) -> list[dict[str, Any]]:
    return [{"id": name, **golden.content(name)} for name in names]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def vectors(done: Done) -> dict[str, np.ndarray]:
    assert done.exit_code == 0
    return {row["id"]: np.array(row["embedding"], dtype=np.float32) for row in done.rows}


def embed(warm: Warm, names: list[str], *args: str | Path) -> dict[str, np.ndarray]:
    """Vectors by id, in the order of the output."""
    options = ("--media-root", golden.ROOT, "--format", "jsonl", "--dtype", "float32", "--device", "cpu")
    return vectors(warm("embed", *options, *args, stdin=jsonl(rows(names))))


def texts(*more: dict[str, Any]) -> bytes:
    return jsonl([*({"text": text} for text in TEXTS), *more])


def tiny(warm: Warm, stdin: bytes, *args: str | Path) -> Done:
    return warm("embed", "-m", golden.MODEL, "--dtype", "float32", "--format", "jsonl", *args, stdin=stdin)


def close(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return all(np.abs(vector - expected[name]).max() <= TOLERANCE for name, vector in got.items())


def refusal(done: Done, code: int) -> list[str]:
    """The lines on stderr of a run that wrote nothing."""
    assert (done.exit_code, done.stdout) == (code, b"")
    return done.stderr.decode().splitlines()


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target


# ------------------------------------------------------------------------- golden vectors


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


# ------------------------------------------------------------- models that cannot be had


def edited(tmp_path: Path, change: Any) -> str:
    """An adapter with other tensors, beside its base."""
    copy(golden.MODEL, tmp_path / "tiny_qwen2vl")
    adapter = copy(golden.ADAPTER, tmp_path / "adapter")
    state = load_file(adapter / "adapter_model.safetensors")
    change(state)
    save_file(state, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    return "adapter"


Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
Q0_INNER = "base_model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"


def remove(state: dict[str, np.ndarray]) -> None:
    del state[Q0]


def add(state: dict[str, np.ndarray]) -> None:
    state["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = np.zeros((16, 64), np.float32)


def reshape(state: dict[str, np.ndarray]) -> None:
    state[Q0] = np.zeros((8, 64), np.float32)


@pytest.mark.parametrize(
    ("change", "fact", "hint"),
    [
        (
            remove,
            f"missing adapter keys: {Q0_INNER} (1 of 84)",
            "the adapter belongs to another model, or its file is incomplete",
        ),
        (
            add,
            f"unexpected adapter keys: {Q0_INNER.replace('.0.', '.9.')} (1 of 84)",
            "the adapter belongs to another model, or its file is incomplete",
        ),
        (
            reshape,
            f"adapter tensor {Q0_INNER} has shape (8, 64), not (16, 64)",
            "the adapter belongs to another base model",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    warm: Warm, tmp_path: Path, change: Any, fact: str, hint: str
) -> None:
    done = tiny(warm, texts(), "-m", edited(tmp_path, change))
    assert refusal(done, 69) == [
        f"vlm2vec: error: adapter/adapter_model.safetensors: {fact}",
        f"hint: {hint}",
    ]


def test_an_adapter_of_zeros_is_said(warm: Warm, tmp_path: Path) -> None:
    def clear(state: dict[str, np.ndarray]) -> None:
        for name in state:
            if ".lora_B." in name:
                state[name] = np.zeros_like(state[name])

    done = tiny(warm, texts(), "-m", edited(tmp_path, clear))
    assert done.exit_code == 0
    assert done.stderr == (
        b"vlm2vec: warning: adapter: the adapter is all zeros; the model behaves like its base\n"
    )


@pytest.mark.parametrize(
    ("args", "first"),
    [
        (["-m", "nowhere"], "vlm2vec: error: nowhere: no such model folder"),
        (["-m", "some/where"], "vlm2vec: error: some/where: cannot be fetched from the hub: "),
        (["-m", "empty"], "vlm2vec: error: empty: no weights and no adapter in this folder"),
        (["--adapter", "empty"], "vlm2vec: error: empty: no adapter_config.json"),
        (
            ["-m", "lonely"],
            "vlm2vec: error: lonely: base model 'tiny_qwen2vl' of the adapter is not available: ",
        ),
        (["-m", "other"], "vlm2vec: error: other/config.json: model_type 'bert' is not supported"),
        (["-m", "bare"], "vlm2vec: error: bare/config.json: no field 'img_processor'"),
        (["-m", "cut"], "vlm2vec: error: cut/model.safetensors: the file is cut off or damaged: "),
        (["-m", "prefix"], "vlm2vec: error: prefix/adapter_config.json: peft_type 'PREFIX' is not supported"),
        (
            ["--adapter", "broken"],
            "vlm2vec: error: broken/adapter_model.safetensors: the file is cut off or damaged: ",
        ),
    ],
)
def test_a_model_that_cannot_be_had_is_one_line_and_a_hint(
    warm: Warm, tmp_path: Path, args: list[str], first: str
) -> None:
    (tmp_path / "empty").mkdir()
    name = args[-1]
    if name in ("lonely", "prefix", "broken"):
        adapter = copy(golden.ADAPTER, tmp_path / name)
        config = json.loads((adapter / "adapter_config.json").read_text())
        if name != "lonely":
            config["base_model_name_or_path"] = str(golden.MODEL)
        if name == "prefix":
            config["peft_type"] = "PREFIX"
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        if name == "broken":
            (adapter / "adapter_model.safetensors").write_bytes(b"nothing")
    if name in ("other", "bare"):
        copy(golden.MODEL, tmp_path / name)
        kind = "bert" if name == "other" else "phi3_v"
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
    if name == "cut":
        path = copy(golden.MODEL, tmp_path / name) / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    lines = refusal(tiny(warm, texts(), *args), 69)
    assert lines[0].startswith(first)
    assert len(lines) == 1 + (name != "bare")
    assert all(line.startswith("hint: ") for line in lines[1:])


def test_the_default_model_is_asked_for_by_its_name_when_offline(warm: Warm) -> None:
    done = warm("embed", stdin=texts())
    assert refusal(done, 69)[0].startswith("vlm2vec: error: VLM2Vec/VLM2Vec-V2.0: cannot be fetched")


def test_weights_that_are_not_finite_are_said_and_nothing_is_written(warm: Warm, tmp_path: Path) -> None:
    folder = copy(golden.MODEL, tmp_path / "nan")
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"] = np.full_like(state["model.norm.weight"], np.nan)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    done = tiny(warm, texts(), "-m", "nan", "-o", "out.jsonl")
    assert refusal(done, 69) == ["vlm2vec: error: nan: the model gives vectors that are not finite"]
    assert [path.name for path in tmp_path.iterdir()] == ["nan"]


# ---------------------------------------------------------------------------------- output


def test_parquet_is_what_other_tools_read(warm: Warm, tmp_path: Path) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    warm.write("rows.jsonl", [{**row, "colour": "red", "size": 3} for row in rows(IDS[:3])])
    done = warm("embed", "rows.jsonl", "-m", golden.MODEL, "--dtype", "float32", "-o", "v.parquet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    path = tmp_path / "v.parquet"
    frame = polars.read_parquet(path)
    assert frame["id"].to_list() == IDS[:3]
    assert frame["colour"].to_list() == ["red"] * 3
    assert np.abs(frame["embedding"].to_numpy() - np.stack([EXPECTED[name] for name in IDS[:3]])).max() < 2e-5
    found = duckdb.sql(f"select id, size, list_inner_product(embedding, embedding) from '{path}'").fetchall()
    assert [(name, size) for name, size, _ in found] == [(name, 3) for name in IDS[:3]]
    assert [norm for *_, norm in found] == pytest.approx([1, 1, 1])
    facts = json.loads(pq.read_schema(path).metadata[b"vlm2vec"])
    assert facts["schema"] == "vlm2vec/vector@1"
    assert facts["model"] == str(golden.MODEL)
    assert (facts["dim"], facts["precision"], facts["normalize"]) == (64, "float32", True)
    assert len(facts["fingerprint"]) == 16


def test_small_vectors_in_duckdb_polars_and_numpy(warm: Warm, tmp_path: Path) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    whole = np.stack([*vectors(tiny(warm, texts())).values()])
    cosine = whole @ whole[0]
    for precision, tolerance in (("float16", 1e-3), ("int8", 5e-3)):
        path = tmp_path / f"{precision}.parquet"
        tiny(warm, texts(), "--precision", precision, "-o", path)
        query = f"(select embedding::float[] from '{path}' where id = '1')"
        found = duckdb.sql(
            f"select list_cosine_similarity(embedding::float[], {query}) from '{path}' order by id"
        ).fetchall()
        assert np.abs(np.array(found)[:, 0] - cosine).max() <= tolerance
        numbers = polars.read_parquet(path)["embedding"].to_numpy().astype(np.float32)
        numbers /= np.linalg.norm(numbers, axis=1, keepdims=True)
        assert np.abs(numbers @ numbers[0] - cosine).max() <= tolerance
        facts = json.loads(pq.read_schema(path).metadata[b"vlm2vec"])
        assert ("max(abs(x))" in facts.get("calibration", "")) == (precision == "int8")
    path = tmp_path / "binary.parquet"
    tiny(warm, texts(), "--precision", "binary", "-o", path)
    bits = np.unpackbits(polars.read_parquet(path)["embedding"].to_numpy(), axis=1)
    assert np.array_equal(bits, whole > 0)


def test_parquet_and_jsonl_hold_the_same_rows(warm: Warm) -> None:
    parquet = warm("embed", "-m", golden.MODEL, "--dtype", "float32", stdin=texts())
    assert parquet.stdout.startswith(b"PAR1")
    plain = tiny(warm, texts())
    again = warm("score", "--rankings", "r.jsonl", stdin=parquet.stdout)
    assert again.exit_code == 65, "queries without candidates are refused, so the rows were read as vectors"
    assert vectors(plain).keys() == {"1", "2", "3", "4"}


def test_unknown_fields_pass_through_and_stale_ones_do_not(warm: Warm) -> None:
    row = {
        "text": "a",
        "colour": {"name": "red"},
        "rank": 3,
        "relevant": {"b": 1},
        "pool": ["b", "b"],
        "model": "older",
        "fingerprint": "older",
        "embedding": [1.0],
    }
    got = tiny(warm, jsonl([row])).rows[0]
    assert (got["colour"], got["rank"], got["relevant"], got["pool"]) == (
        {"name": "red"},
        3,
        {"b": 1.0},
        ["b", "b"],
    )
    assert got["schema"] == "vlm2vec/vector@1"
    assert got["model"] == str(golden.MODEL)
    assert got["fingerprint"] != "older"
    assert len(got["embedding"]) == 64


def test_keep_and_drop(warm: Warm) -> None:
    row = {"id": "x", "text": "a", "colour": "red", "size": 3}
    kept = tiny(warm, jsonl([row]), "--keep", "colour").rows[0]
    assert set(kept) - {"schema", "model", "fingerprint", "precision", "embedding"} == {
        "id",
        "dataset",
        "role",
        "colour",
    }
    dropped = tiny(warm, jsonl([row]), "--drop", "colour", "--drop", "text").rows[0]
    assert {"colour", "text"}.isdisjoint(dropped)
    assert dropped["size"] == 3


def test_the_reader_may_leave(warm: Warm) -> None:
    warm.write("rows.jsonl", [{"text": f"row {number}"} for number in range(2500)])
    with warm.talk("embed", "rows.jsonl", "-m", golden.MODEL, "--dtype", "float32") as talk:
        assert talk.stdout.read(1) == b"P"
        talk.stdout.close()
    assert talk.done == Done(0, b"", b"")


def test_parquet_is_not_written_to_a_terminal(vlm2vec: Runner) -> None:
    ours, theirs = pty.openpty()
    process = vlm2vec.start("embed", "-m", "tiny", stdin=subprocess.DEVNULL, stdout=theirs, stderr=-1)
    _, stderr = process.communicate(timeout=300)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 2
    assert stderr == (
        b"vlm2vec: error: Parquet is not written to a terminal\n"
        b"hint: add -o FILE.parquet, --format jsonl, or a pipe\n"
    )


# --------------------------------------------------------------------------------- options


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


# -------------------------------------------------------------------------------- bad rows

BAD = [
    ({"id": "m", "image": "nowhere.png"}, 66, "image nowhere.png: "),
    (
        {"id": "t", "text": "<image><image>", "image": "images/tiny_10x12.png"},
        65,
        "text has 2 <image> tokens for 1 images",
    ),
    ({"id": "e"}, 65, "expected text, image or video"),
]


@pytest.mark.parametrize(("row", "code", "fact"), BAD)
def test_a_bad_row_stops_the_run_after_the_rows_before_it(
    warm: Warm, row: dict[str, Any], code: int, fact: str
) -> None:
    done = tiny(warm, texts(row, {"text": "after"}), "--media-root", golden.ROOT)
    assert done.exit_code == code
    assert done.stderr.decode().startswith(f"vlm2vec: error: stdin line 5: {fact}")
    assert [row["id"] for row in done.rows] == ["1", "2", "3", "4"]


def test_skipped_rows_are_counted_and_written_down(warm: Warm, tmp_path: Path) -> None:
    whole = vectors(tiny(warm, texts({"text": "after"})))
    mixed = [row for pair in zip([*TEXTS[:3]], (row for row, *_ in BAD), strict=True) for row in pair]
    lines = [{"text": row} if isinstance(row, str) else row for row in mixed]
    stdin = jsonl([*lines, {"text": TEXTS[3]}])
    args = ("--media-root", golden.ROOT, "--on-error", "skip", "--rejects", "bad.jsonl")
    done = tiny(warm, stdin, *args)
    assert done.exit_code == 65
    assert done.stderr.decode().splitlines() == [
        "vlm2vec: error: 3 rows rejected, 0 allowed",
        "hint: see bad.jsonl",
    ]
    assert [row["text"] for row in done.rows] == TEXTS
    for row, name in zip(done.rows, "1234", strict=True):
        assert np.abs(np.array(row["embedding"]) - whole[name]).max() <= TOLERANCE
    rejected = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert sorted((one["place"], one["code"]) for one in rejected) == [
        ("stdin line 2", 66),
        ("stdin line 4", 65),
        ("stdin line 6", 65),
    ]
    facts = {one["place"]: one["reason"] for one in rejected}
    for place, (_, _, fact) in zip(sorted(facts), BAD, strict=True):
        assert facts[place].startswith(fact)
    allowed = tiny(warm, stdin, *args, "--allow-rejects", "3")
    assert (allowed.exit_code, allowed.stderr) == (0, b"vlm2vec: warning: 3 rows rejected, 3 allowed\n")


def test_a_picture_with_too_many_pixels_is_a_bad_row_and_no_crash(warm: Warm) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    warm.write("bomb.png", bomb)
    done = tiny(warm, jsonl([{"image": "bomb.png"}]))
    assert done.exit_code == 65
    assert done.stderr.startswith(b"vlm2vec: error: stdin line 1: image bomb.png: ")


def bad_media(folder: Path) -> list[tuple[dict[str, Any], int, str]]:
    """Rows whose media cannot be used, each with its exit code and its reason."""
    av = pytest.importorskip("av")
    pymupdf = pytest.importorskip("pymupdf")
    whole = (golden.ROOT / "images" / "rgba_180x240.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_bytes(b"not a picture at all")
    with pymupdf.open() as document:
        document.new_page(width=60, height=60)
        document.save(folder / "plain.pdf")
        document.save(folder / "locked.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret")
    pageless = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
    )
    (folder / "pageless.pdf").write_bytes(pageless + b"trailer<</Root 1 0 R>>\n%%EOF\n")
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 64)
    (folder / "nothing.mp4").write_bytes(b"")
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(folder / "frameless.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        container.start_encoding()
    return [
        ({"image": "missing.png"}, 66, "image missing.png: "),
        ({"image": "cut.png"}, 65, "image cut.png: "),
        ({"image": "empty.png"}, 65, "image empty.png: "),
        ({"image": "text.png"}, 65, "image text.png: "),
        ({"image": "locked.pdf#page=1"}, 65, "image locked.pdf#page=1: "),
        ({"image": "pageless.pdf#page=1"}, 65, "image pageless.pdf#page=1: "),
        ({"image": "plain.pdf#page=2"}, 65, "image plain.pdf#page=2: "),
        ({"video": "missing.mp4"}, 66, "video missing.mp4: "),
        ({"video": "broken.mp4"}, 65, "video broken.mp4: "),
        ({"video": "nothing.mp4"}, 65, "video nothing.mp4: "),
        ({"video": "sound.mp4"}, 65, "video sound.mp4: has no video stream (only audio)"),
        ({"video": "frameless.mp4"}, 65, "video frameless.mp4: "),
        ({"text": None}, 65, "expected text, image or video"),
    ]


def odd_media(folder: Path) -> list[dict[str, Any]]:
    """Rows that look wrong and are not."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    Image.new("RGB", (10, 3000), "blue").save(folder / "strip.png")
    Image.frombytes("CMYK", (50, 40), noise.tobytes()).save(folder / "print.jpg")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "green")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    names = ["dot.png", "strip.png", "print.jpg", "deep.png", "moving.gif"]
    return [{"image": name} for name in names] + [
        {"text": "same id", "id": "x"},
        {"text": "again", "id": "x"},
    ]


def test_each_bad_row_is_named_and_the_rest_is_right(warm: Warm, tmp_path: Path) -> None:
    bad, odd = bad_media(tmp_path), odd_media(tmp_path)
    alone = tiny(warm, jsonl(odd), "--max-pixels", "12544").rows
    assert [row["id"] for row in alone] == ["1", "2", "3", "4", "5", "x", "x"]
    mixed: list[dict[str, Any]] = [row for row, *_ in bad]
    places = {}
    for number, row in enumerate(odd):
        mixed.insert(2 * number, row)
    for number, row in enumerate(mixed, start=1):
        places.update((f"stdin line {number}", one) for one in bad if one[0] is row)
    args = ("--max-pixels", "12544", "--on-error", "skip", "--rejects", "bad.jsonl")
    done = tiny(warm, jsonl(mixed), *args)
    assert done.exit_code == 65
    assert done.stderr.decode().startswith(f"vlm2vec: error: {len(bad)} rows rejected, 0 allowed\n")
    for row, expected in zip(done.rows, alone, strict=True):
        assert np.abs(np.array(row["embedding"]) - expected["embedding"]).max() <= TOLERANCE
    rejected = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert {one["place"] for one in rejected} == set(places)
    for one in rejected:
        _, code, reason = places[one["place"]]
        assert one["code"] == code
        assert one["reason"].startswith(reason), one
        assert len(one["reason"]) > len(reason) or not reason.endswith(": ")


def test_a_million_characters(warm: Warm) -> None:
    done = tiny(warm, jsonl([{"text": "word " * 200_000}]), "--max-length", "64")
    short = tiny(warm, jsonl([{"text": "word " * 200}]), "--max-length", "64")
    assert done.rows[0]["embedding"] == short.rows[0]["embedding"]


# ----------------------------------------------------------------------------------- parts


def test_parts_by_several_shards_are_the_whole(warm: Warm, tmp_path: Path) -> None:
    stdin = texts(*({"text": f"row {number}"} for number in range(5)))
    whole = tiny(warm, stdin).rows
    model = ("embed", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "2")
    for shard in ("2/2", "1/2"):
        done = warm(*model, "-o", "parts/", "--shard", shard, stdin=stdin)
        assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        f"part-00000{number}.parquet" for number in range(5)
    ]
    again = warm(*model, "-o", "parts/", "--resume", stdin=stdin)
    assert (again.exit_code, again.stderr) == (0, b"vlm2vec: 5 finished parts of shard 1-of-1 skipped\n")
    files = sorted((tmp_path / "parts").iterdir())
    found = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert [row["id"] for row in found] == [row["id"] for row in whole]
    for row, expected in zip(found, whole, strict=True):
        assert np.abs(np.array(row["embedding"]) - expected["embedding"]).max() <= 1e-6
    facts = {pq.read_schema(path).metadata[b"vlm2vec"] for path in files}
    assert len({json.loads(one)["fingerprint"] for one in facts} | {whole[0]["fingerprint"]}) == 1


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (
            ["--shard", "1/2"],
            [
                "vlm2vec: error: shards, processes and --resume need a folder for part files",
                "hint: -o DIR/",
            ],
        ),
        (
            ["-o", "parts/", "--format", "jsonl"],
            ["vlm2vec: error: --format jsonl: part files are Parquet", "hint: leave --format out"],
        ),
        (
            ["--shard", "3/2"],
            ["vlm2vec: error: --shard: expected I/N or auto, got '3/2'", "hint: 1/4 is the first of four"],
        ),
    ],
)
def test_parts_that_cannot_be(warm: Warm, args: list[str], lines: list[str]) -> None:
    assert refusal(warm("embed", "-m", golden.MODEL, *args, stdin=texts()), 2) == lines


def test_a_check_says_what_it_found_and_changes_nothing(warm: Warm) -> None:
    done = tiny(warm, texts(), "--check", "2")
    assert done.stdout == tiny(warm, texts()).stdout
    assert done.stderr.startswith(b"vlm2vec: check of 2 rows: largest deviation ")


@pytest.mark.slow
def test_processes_share_the_parts_and_stdin(warm: Warm, tmp_path: Path) -> None:
    model = ("embed", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "2")
    done = warm(*model, "-o", "parts/", "--num-processes", "2", stdin=texts({"id": "5", "text": "more"}))
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    files = sorted((tmp_path / "parts").iterdir())
    assert [path.name for path in files] == [f"part-00000{number}.parquet" for number in range(3)]
    found = [row["id"] for path in files for row in pq.read_table(path).to_pylist()]
    assert found == ["1", "2", "3", "4", "5"]


@pytest.mark.slow
def test_a_killed_run_loses_what_was_unfinished_and_goes_on(
    warm: Warm, vlm2vec: Runner, tmp_path: Path
) -> None:
    warm.write("rows.jsonl", [{"text": f"row {number} " * 40} for number in range(500)])
    options = ("rows.jsonl", "-m", golden.MODEL, "--dtype", "float32", "--batch-tokens", "500")
    process = vlm2vec.start("embed", *options, "-o", "parts/", "--part-rows", "20")
    folder = tmp_path / "parts"
    while not [*folder.glob("part-*.parquet")]:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}
    assert 0 < len(finished) < 25
    done = warm("embed", *options, "-o", "parts/", "--part-rows", "20", "--resume")
    assert done.exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    whole = warm("embed", *options, "-o", "whole.parquet")
    assert whole.exit_code == 0
    found = [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]
    expected = pq.read_table(tmp_path / "whole.parquet").to_pylist()
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert np.abs(np.array(row["embedding"]) - other["embedding"]).max() <= 1e-6
