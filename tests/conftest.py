"""Fixtures for all tests: the real program in a fresh folder, and laws that try the same cases every time."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("VLM2VEC_MEDIA_ROOT", None)

from runner import Runner  # noqa: E402  # found through the path set above

settings.register_profile("same every time", deadline=None, derandomize=True, database=None, max_examples=20)
settings.load_profile("same every time")


@pytest.fixture
def vlm2vec(tmp_path: Path) -> Runner:
    """The program: `vlm2vec("embed", "rows.jsonl", stdin=b"")` gives exit_code, stdout, stderr as bytes."""
    return Runner(tmp_path)


@pytest.fixture
def rows(tmp_path: Path) -> Runner:
    """A command that copies rows through a session, for what streams and the error funnel promise."""
    return _rows(tmp_path)


def _rows(work: Path) -> Runner:
    program = Runner(work, (sys.executable, str(SUPPORT / "rows_command.py")))
    return Runner(work, (*program.program, "rows"))
