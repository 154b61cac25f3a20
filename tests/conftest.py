"""Fixtures for all tests: the real program in a fresh folder, and laws that try the same cases every time."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("VLM2VEC_MEDIA_ROOT", None)

from runner import Runner  # noqa: E402  # found through the path set above
from warm import Server, Warm  # noqa: E402  # likewise

settings.register_profile("same every time", deadline=None, derandomize=True, database=None, max_examples=20)
settings.load_profile("same every time")


@pytest.fixture
def vlm2vec(tmp_path: Path) -> Runner:
    """The program: `vlm2vec("embed", "rows.jsonl", stdin=b"")` gives exit_code, stdout, stderr as bytes."""
    return Runner(tmp_path)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One process that runs are forked from."""
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    started.close()


@pytest.fixture
def warm(server: Server, tmp_path: Path) -> Warm:
    """As `vlm2vec`, under `-W error` and without the seconds that loading torch takes."""
    return Warm(tmp_path, server=server)


@pytest.fixture
def rows(tmp_path: Path) -> Runner:
    """A command that copies rows through a session, for what streams and the error funnel promise."""
    return _rows(tmp_path)


def _rows(work: Path) -> Runner:
    program = Runner(work, (sys.executable, str(SUPPORT / "rows_command.py")))
    return Runner(work, (*program.program, "rows"))
