"""What `doctor` finds, and that it does not miss what is broken."""

import builtins
import doctest
import json
import re
import shutil
from importlib.metadata import PackageNotFoundError
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runner import Runner
from vlm2vec_cli import doctor, encoder

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


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("devices", "RuntimeError: no driver"),
        ("model cache", "ModuleNotFoundError: no module"),
        ("-m quickstart", "RuntimeError: out of memory"),
    ],
)
def test_whatever_a_check_raises_is_a_problem_and_the_others_are_made(
    monkeypatch: pytest.MonkeyPatch, part: str, said: str
) -> None:
    def failing(*_: object, **__: object) -> None:
        name, _, fact = said.partition(": ")
        raise getattr(builtins, name)(fact)

    monkeypatch.setattr(torch.cuda, "is_available", failing if part == "devices" else lambda: False)
    if part == "model cache":
        monkeypatch.setitem(doctor.FOLDERS, part, (failing, "HF_HUB_CACHE"))
    monkeypatch.setattr(encoder, "load", failing)
    findings = {one.name: one for one in doctor.examine("quickstart")}
    assert (findings[part].status, findings[part].found) == ("problem", said)
    assert findings["components"].status == "ok"


def test_a_gpu_that_does_not_answer_is_a_problem_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(_: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: device is\nbusy")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    findings = {one.name: one for one in doctor.examine(None)}
    assert findings["cuda:0"][1:3] == ("problem", "RuntimeError: CUDA error: device is busy")
    assert findings["cpu"].status == "ok"


def test_every_package_that_is_installed_beside_it_is_looked_at() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    named = {re.split(r"[<>=;]", one)[0] for one in project["project"]["dependencies"]}
    looked_at = {*doctor.REQUIRED, *doctor.OPTIONAL, *doctor.DECODERS}
    assert named - looked_at == {"tomli"}, "which only an old Python needs"


def test_pdf_pages_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.version

    def version(name: str) -> str:
        if name == "pymupdf":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    assert found("pymupdf")[1:3] == ("absent", "not installed")


def test_the_folder_of_tar_indices_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert found("tar indices").found.startswith(f"{tmp_path / 'vlm2vec'} (not made yet), ")


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
