"""What `doctor` finds, and that it does not miss what is broken."""

import doctest
import json
import shutil
from importlib.metadata import PackageNotFoundError
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runner import Runner
from vlm2vec_cli import doctor

CHECKPOINT = Path(str(files("vlm2vec_cli.quickstart"))) / "checkpoint"


def found(name: str, model: str | None = None) -> doctor.Finding:
    return next(one for one in doctor.examine(model) if one.name == name)


def test_this_machine_is_in_order() -> None:
    findings = list(doctor.examine("quickstart"))
    assert [one.name for one in findings if one.status == "problem"] == []
    assert findings[-1].name == "-m quickstart"
    assert findings[-1].found.startswith("two vectors of 192 numbers")


def test_a_missing_package_is_a_problem_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version

    def version(name: str) -> str:
        if name == "peft":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    assert found("peft") == ("peft", "problem", "not installed", "pip install peft")


def test_without_any_decoder_videos_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DECODERS", ("no_such_decoder",))
    assert found("no_such_decoder").status == "absent"
    assert found("videos").status == "problem"


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    assert found("temporary files").status == "problem"
    assert found("temporary files").remedy == "the variable TMPDIR names another folder"


def test_broken_weights_are_a_problem(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINT, tmp_path / "broken")
    weights = tmp_path / "broken" / "model.safetensors"
    tensors = load_file(weights)
    tensors = {name: torch.full_like(value, torch.nan) for name, value in tensors.items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    finding = found(f"-m {tmp_path / 'broken'}", str(tmp_path / "broken"))
    assert finding.status == "problem"


def test_a_problem_ends_with_69_and_json_says_the_same(vlm2vec: Runner) -> None:
    done = vlm2vec("doctor", "-m", "nowhere/", "--format", "json")
    assert done.exit_code == 69
    assert done.stderr.decode().splitlines() == [
        "vlm2vec: error: not in order: -m nowhere/",
        "hint: the remedies stand beside them",
    ]
    findings = json.loads(done.stdout)
    assert [one["name"] for one in findings if one["status"] == "problem"] == ["-m nowhere/"]
    assert {"name": "cpu", "status": "ok"}.items() <= next(o for o in findings if o["name"] == "cpu").items()


def test_text_has_the_remedy_under_the_finding() -> None:
    lines = doctor.as_text([doctor.Finding("a", "ok", "1"), doctor.Finding("bcd", "problem", "2", "do it")])
    assert lines.splitlines() == ["ok       a    1", "problem  bcd  2", "              -> do it"]


def test_examples_in_docstrings_hold() -> None:
    assert doctest.testmod(doctor).attempted > 0
    assert doctest.testmod(doctor).failed == 0
