"""What a folder holds is decided by its files."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import golden
from vlm2vec_cli import adapters, checkpoints, hub
from vlm2vec_cli.checkpoints import find
from vlm2vec_cli.errors import UnavailableError, UsageError


def model(folder: Path, meta: dict[str, Any] | None = None) -> Path:
    """Just enough for `find`: full weights by name, and perhaps vlm2vec.json."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"")
    if meta is not None:
        (folder / checkpoints.META).write_text(json.dumps(meta))
    return folder


def adapter(folder: Path, base: str, meta: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / adapters.CONFIG).write_text(json.dumps({"base_model_name_or_path": base}))
    if meta is not None:
        (folder / checkpoints.META).write_text(json.dumps(meta))
    return folder


def test_full_weights_are_a_model(tmp_path: Path) -> None:
    found = find(str(model(tmp_path / "m", {"limits": {"num_frames": 4}})), revision="r")
    assert (found.folder, found.weights, found.adapter) == (tmp_path / "m", tmp_path / "m", None)
    assert found.revision == "r"
    assert found.base == str(tmp_path / "m")
    assert found.limits().num_frames == 4


@pytest.mark.parametrize("base", ["m", "../m", "{root}/m"])
def test_an_adapter_finds_its_base(tmp_path: Path, base: str) -> None:
    model(tmp_path / "m")
    folder = adapter(tmp_path / "a", base.format(root=tmp_path))
    found = find(str(folder))
    assert (found.folder, found.adapter) == (folder, folder)
    assert found.weights.resolve() == tmp_path / "m"
    assert Path(found.base).resolve() == tmp_path / "m"


def test_a_base_from_the_hub_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = model(tmp_path / "cache" / "0123abcd")
    asked = []

    def download(name: str, **more: Any) -> str:
        asked.append((name, more["revision"]))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    folder = adapter(tmp_path / "a", "some/base")
    found = find(str(folder))
    assert (found.weights, found.base, asked) == (snapshot, "some/base", [("some/base", None)])
    hub = find("some/base", revision="main")
    assert (hub.base, hub.revision, hub.name) == ("some/base", "0123abcd", "some/base")


def test_base_and_adapter_named_apart(tmp_path: Path) -> None:
    model(tmp_path / "m", {"limits": {"num_frames": 4}})
    plain, own = adapter(tmp_path / "a", "x"), adapter(tmp_path / "b", "x", {"limits": {"num_frames": 2}})
    found = find(str(tmp_path / "m"), adapter=str(plain))
    assert (found.folder, found.adapter, found.limits().num_frames) == (tmp_path / "m", plain, 4)
    found = find(str(tmp_path / "m"), adapter=str(own))
    assert (found.folder, found.adapter, found.limits().num_frames) == (own, own, 2)


def test_limits_are_what_is_given_then_recorded_then_published(tmp_path: Path) -> None:
    found = find(str(model(tmp_path / "m", {"limits": {"max_pixels": 50176}})))
    limits = found.limits(num_frames=3, max_pixels=None)
    assert (limits.min_pixels, limits.max_pixels, limits.num_frames, limits.max_length) == (
        3136,
        50176,
        3,
        None,
    )
    assert found.limits(max_pixels=9999).max_pixels == 9999
    shutil.copy(golden.MODEL / "preprocessor_config.json", tmp_path / "m")
    (tmp_path / "m" / checkpoints.META).unlink()
    assert find(str(tmp_path / "m")).limits().max_pixels == 1003520, "the hub's own numbers do not count"


def test_the_shipped_model_is_not_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "quickstart")
    monkeypatch.chdir(tmp_path)
    folder, revision = hub.folder("quickstart", None)
    assert (folder.name, folder.parent.name, revision) == ("checkpoint", "quickstart", None)
    assert folder.parent != tmp_path / "quickstart"
    assert find("./quickstart").folder == Path("./quickstart")


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../x", "", "with space/x"])
def test_what_is_neither_folder_nor_hub_id(name: str) -> None:
    with pytest.raises(UnavailableError) as raised:
        find(name)
    assert (raised.value.place, raised.value.fact) == (name, "no such model folder")
    assert raised.value.hint == "give a folder, a hub id like ORGANISATION/NAME, tiny or quickstart"


def test_a_damaged_metadata_file_is_named(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / checkpoints.META).write_text("{")
    with pytest.raises(UnavailableError, match="not JSON") as raised:
        find(str(folder))
    assert raised.value.place == str(folder / checkpoints.META)


@pytest.mark.parametrize("name", [checkpoints.META, "config.json", adapters.CONFIG])
def test_json_that_is_no_object_is_named(tmp_path: Path, name: str) -> None:
    folder = model(tmp_path / "m")
    put_on = adapter(tmp_path / "a", "x")
    place = (put_on if name == adapters.CONFIG else folder) / name
    place.write_text("[]")
    with pytest.raises(UnavailableError) as raised:
        find(str(folder), adapter=str(put_on))
    assert (raised.value.place, raised.value.fact) == (str(place), "expected one JSON object")


def test_limits_that_are_no_object_are_named(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", {"limits": [3]})
    with pytest.raises(UnavailableError, match=r"limits: expected an object, got \[3\]") as raised:
        find(str(folder))
    assert raised.value.place == str(folder / checkpoints.META)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_pixels", "many"),
        ("num_frames", 0),
        ("num_crops", None),
        ("max_length", 2.5),
        ("min_pixels", True),
    ],
)
def test_a_limit_that_is_no_number_is_named(tmp_path: Path, name: str, value: Any) -> None:
    found = find(str(model(tmp_path / "m", {"limits": {name: value}})))
    with pytest.raises(UnavailableError) as raised:
        found.limits()
    assert raised.value.fact == f"limit {name}: expected a number of at least 1, got {value!r}"
    assert raised.value.place == str(tmp_path / "m")


def test_pixel_limits_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    found = find(str(model(tmp_path / "m")))
    with pytest.raises(UsageError, match="--min-pixels 9000 is above --max-pixels 8000"):
        found.limits(min_pixels=9000, max_pixels=8000)


def test_what_is_known_of_an_adapter_wins_over_what_is_known_of_its_base(tmp_path: Path) -> None:
    base = model(tmp_path / "gme-Qwen2-VL-2B-Instruct", {"limits": {"num_frames": 4, "max_pixels": 9999}})
    release = adapter(tmp_path / "VLM2Vec-Qwen2VL-2B", "x")
    found = find(str(base), adapter=str(release))
    limits = found.limits()
    assert (found.meta["prompt_family"], limits.resize) == ("vlm2vec-v1", "high")
    assert (limits.num_frames, limits.max_pixels) == (4, 9999)
    (release / checkpoints.META).write_text(json.dumps({"limits": {"resize": "low"}}))
    found = find(str(base), adapter=str(release))
    limits = found.limits()
    assert (found.meta["prompt_family"], limits.resize, limits.num_frames) == ("vlm2vec-v1", "low", 8)
    own = tmp_path / "own.json"
    own.write_text('{"prompt_family": "vlm2vec-v2"}')
    found = find(str(base), adapter=str(release), config=str(own))
    assert (found.meta["prompt_family"], found.limits().resize) == ("vlm2vec-v2", "low")


@pytest.mark.parametrize(
    ("trained_on", "said"),
    [
        ("org/Model-2B", False),
        ("other/model-2b", False),
        ("org/Model-2B-Instruct", True),
        ("/home/me/x", False),
    ],
)
def test_an_adapter_of_another_base_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trained_on: str,
    said: bool,
) -> None:
    snapshot = model(tmp_path / "0123abcd")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **more: str(snapshot))
    put_on = adapter(tmp_path / "a", trained_on)
    find("org/Model-2B", adapter=str(put_on))
    find(str(snapshot), adapter=str(put_on))
    expected = f"{put_on}: the adapter was trained on {trained_on}, not on org/Model-2B"
    assert [one.getMessage() for one in caplog.records] == [expected] * said


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(golden.MODEL, folder)
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"] = torch.ones(32)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    found = find(str(folder))
    with pytest.raises(UnavailableError) as raised:
        checkpoints.load(found, found.limits(), dtype=torch.float32, device="cpu")
    assert raised.value.place == str(folder)
