"""What is known of released checkpoints: entries that fit the code, found by hub id, folder and cache."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlm2vec_cli import backbones, checkpoints, plugins, released
from vlm2vec_cli.errors import MissingError, UnavailableError

ENTRIES = released._entries()
FAMILIES = {
    one for name in plugins.names("backbones") for one in plugins.load("backbones", name).PROMPT_FAMILIES
}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_one_that_the_code_understands(name: str, tmp_path: Path) -> None:
    entry = ENTRIES[name]
    assert entry["prompt_family"] in FAMILIES
    assert entry.keys() <= released.FIELDS.keys()
    checkpoint = checkpoints.Checkpoint(name, tmp_path, tmp_path, meta=entry)
    limits = checkpoint.limits()
    assert all(getattr(limits, field) == value for field, value in entry.get("limits", {}).items())
    assert entry["dimension"] in (1536, 2048, 3072, 3584, 4096)


def test_every_prompt_family_of_a_release_has_its_backbone() -> None:
    assert backbones.serving("qwen2_vl", "gme").__name__.endswith(".gme")
    assert backbones.serving("qwen2_vl", "vlm2vec-v1").__name__.endswith(".qwen2_vl")
    with pytest.raises(UnavailableError, match="no prompt family 'gme' for model_type 'phi3_v'"):
        backbones.serving("phi3_v", "gme")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("TIGER-Lab/VLM2Vec-Full", None),
        ("tiger-lab/vlm2vec-full", None),
        ("x", "VLM2Vec-Full"),
        ("x", "hub/models--TIGER-Lab--VLM2Vec-Full/snapshots/0123abcd"),
    ],
)
def test_a_release_is_found_by_its_names(name: str, folder: str | None) -> None:
    assert released.find(name, Path(folder) if folder else None)["dimension"] == 3072


@pytest.mark.parametrize("folder", ["VLM2Vec-Full-2", "my-VLM2Vec-Full", "snapshots/x", "VLM2Vec-Full/run"])
def test_other_folders_are_not_taken_for_a_release(folder: str) -> None:
    assert released.find("x", Path(folder)) == {}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"own.json: cannot be read: No such file"):
        released.read(str(tmp_path / "own.json"))


def test_what_a_folder_records_wins_over_the_release_and_the_users_file_over_both(tmp_path: Path) -> None:
    folder = tmp_path / "VLM2Vec-Full"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"")
    assert checkpoints.find(str(folder)).limits().num_crops == 4
    (folder / checkpoints.META).write_text('{"limits": {"num_crops": 8, "num_frames": 2}}')
    found = checkpoints.find(str(folder))
    assert (found.limits().num_crops, found.limits().num_frames) == (8, 2)
    assert found.meta["prompt_family"] == "vlm2vec-v1"
    own = tmp_path / "own.json"
    own.write_text('{"limits": {"num_crops": 1}, "prompt_family": "gme"}')
    found = checkpoints.find(str(folder), config=str(own))
    assert (found.limits().num_crops, found.limits().num_frames) == (1, 2)
    assert found.meta["prompt_family"] == "gme"


def test_the_described_revision_is_taken_if_it_can_be_had_and_a_pinned_one_always(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []
    pinned = ENTRIES["vlm2vec/vlm2vec-v2.0"]["revision"]

    def download(name: str, *, revision: str | None, **more: Any) -> str:
        asked.append(revision)
        if revision == pinned:
            raise OSError("not in the cache")
        folder = tmp_path / "main"
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_bytes(b"")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert checkpoints.find("VLM2Vec/VLM2Vec-V2.0").revision == "main"
    assert asked == [pinned, None]
    checkpoints.find("VLM2Vec/VLM2Vec-V2.0", revision="v1")
    assert asked == [pinned, None, "v1"]
    assert [one.getMessage() for one in caplog.records] == [
        f"VLM2Vec/VLM2Vec-V2.0: revision {pinned}, which is described, cannot be fetched; taking main"
    ]
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"revision": pinned}))
    for options in ({"revision": pinned}, {"config": str(own)}):
        with pytest.raises(UnavailableError, match="cannot be fetched from the hub: not in the cache"):
            checkpoints.find("VLM2Vec/VLM2Vec-V2.0", **options)
