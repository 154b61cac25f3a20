"""A folder is a registry; every component of every folder is looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlm2vec_cli import plugins
from vlm2vec_cli.errors import UnavailableError, UsageError

TESTS = Path(__file__).parents[1]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder `metrics` that stands for the package's."""
    monkeypatch.setattr(plugins, "ROOT", tmp_path)
    plugins.names.cache_clear()
    (tmp_path / "metrics").mkdir()
    yield tmp_path / "metrics"
    plugins.names.cache_clear()


def test_names_are_files_and_packages_with_hyphens(registry: Path) -> None:
    for name in ("__init__.py", "_shared.py", "b_c.py", "a.py", "notes.txt"):
        (registry / name).touch()
    (registry / "pack").mkdir()
    (registry / "pack" / "__init__.py").touch()
    (registry / "__pycache__").mkdir()
    assert plugins.names("metrics") == ("a", "b-c", "pack")


def test_listing_imports_nothing() -> None:
    code = "import sys; from vlm2vec_cli import plugins; [plugins.names(one) for one in plugins.WORDS]; "
    code += "print(*[name for name in sys.modules if name.startswith('vlm2vec_cli.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["vlm2vec_cli.errors", "vlm2vec_cli.plugins"]


def test_an_unknown_name_answers_with_the_nearest_and_the_list(registry: Path) -> None:
    for name in ("hit.py", "ndcg.py"):
        (registry / name).touch()
    with pytest.raises(UsageError) as refused:
        plugins.load("metrics", "ndgc")
    assert (refused.value.fact, refused.value.hint) == (
        "unknown metric 'ndgc'",
        "did you mean 'ndcg'? known: hit, ndcg",
    )


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'faiss'", name="faiss")

    monkeypatch.setattr(plugins.importlib, "import_module", missing)
    with pytest.raises(UnavailableError) as refused:
        plugins.load("metrics", plugins.names("metrics")[0])
    assert refused.value.hint == "pip install faiss"


COMPONENTS = [(folder, name) for folder in plugins.WORDS for name in plugins.names(folder)]


@pytest.mark.parametrize(("folder", "name"), COMPONENTS)
def test_every_component_has_a_docstring_and_a_test_file_of_its_name(folder: str, name: str) -> None:
    file = name.replace("-", "_")
    source = (plugins.ROOT / folder / f"{file}.py").read_text(encoding="utf-8")
    assert source.startswith('"""')
    assert list(TESTS.rglob(f"test_{file}.py")), f"no test_{file}.py"
