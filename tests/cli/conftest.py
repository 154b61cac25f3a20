"""Folders that several commands' tests begin with."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mining_files import PAIRS, vectors
from runner import Runner


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
