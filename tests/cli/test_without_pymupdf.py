"""Without PyMuPDF, which may be uninstalled: what needs it ends with 69, at once, and names it."""

from pathlib import Path

import pytest

import golden
from reports import score_row
from runner import Runner

HINT = "pip install pymupdf"


@pytest.fixture
def without(vlm2vec: Runner) -> Runner:
    """The program where `import pymupdf` fails, beside a PDF, a row that names its page, and scores."""
    vlm2vec.write("away/pymupdf.py", "raise ModuleNotFoundError('No module named pymupdf')\n")
    vlm2vec.write("x.pdf", b"%PDF-1.4\n")
    vlm2vec.write("rows.jsonl", [{"text": "a"}, {"image": "x.pdf#page=1"}])
    vlm2vec.write("scores.jsonl", [score_row("d", 0.5)])
    return vlm2vec


@pytest.mark.parametrize(
    ("args", "said", "hint"),
    [
        (("prepare", "files", "x.pdf"), "x.pdf: PDF pages need PyMuPDF", HINT),
        (
            ("embed", "rows.jsonl", "-m", golden.MODEL, "--format", "jsonl"),
            "rows.jsonl line 2: image x.pdf#page=1: PDF pages need PyMuPDF", HINT,
        ),
        (
            ("report", "scores.jsonl", "-o", "r.html", "--plot", "r.png"),
            "a PNG needs pymupdf", f"{HINT}, or name it FILE.svg",
        ),
    ],
)  # fmt: skip
def test_what_needs_it_says_so(without: Runner, args: tuple[str | Path, ...], said: str, hint: str) -> None:
    done = without(*args, env={"PYTHONPATH": str(without.work / "away")})
    assert done.exit_code == 69
    assert done.stderr.decode().splitlines()[-2:] == [f"vlm2vec: error: {said}", f"hint: {hint}"]


def test_all_else_works(without: Runner) -> None:
    env = {"PYTHONPATH": str(without.work / "away")}
    without.write("photos/a.jpg", b"x")
    assert len(without("prepare", "files", "photos", env=env).rows) == 1
    assert without("report", "scores.jsonl", "--plot", "r.svg", env=env).exit_code == 0
