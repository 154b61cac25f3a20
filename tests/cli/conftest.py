"""The program with its libraries loaded, for tests that need a model."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mining_files import PAIRS, vectors
from runner import Runner
from warm import Server, Warm


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
def folder(tmp_path: Path) -> Callable[[Path, str], Path]:
    """A copy of a model under the name of a repository."""

    def copy(source: Path, name: str) -> Path:
        return Path(shutil.copytree(source, tmp_path / name))

    return copy


@pytest.fixture
def mine(vlm2vec: Runner) -> Runner:
    """A folder with pairs.jsonl and vectors.jsonl."""
    vlm2vec.write("pairs.jsonl", PAIRS)
    vlm2vec.write("vectors.jsonl", vectors())
    return vlm2vec
