"""The examples in docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

import vlm2vec_cli

ROOT = Path(vlm2vec_cli.__file__).parent
FILES = [path for folder in (ROOT, ROOT / "schemas", ROOT / "commands") for path in folder.rglob("*.py")]
MODULES = sorted(
    ".".join(("vlm2vec_cli", *path.relative_to(ROOT).with_suffix("").parts))
    for path in dict.fromkeys(FILES)
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")))
    assert result.attempted
    assert not result.failed
