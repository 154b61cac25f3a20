"""The wheel holds every module and data file of the tree, under vlm2vec_cli alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
LINKS = {"commands": "../commands", "schemas": "../schemas", "quickstart": "../examples/quickstart"}
TREES = {
    "vlm2vec_cli": ROOT / "vlm2vec_cli",
    **{f"vlm2vec_cli/{name}": ROOT / "vlm2vec_cli" / to for name, to in LINKS.items()},
}
DATA = (".py", ".typed", ".json")


def files() -> dict[str, Path]:
    """Every file of the package by its place in the wheel, links resolved, caches left out."""
    found = {}
    for prefix, tree in TREES.items():
        for folder, folders, names in os.walk(tree):  # does not follow links
            folders[:] = [one for one in folders if one != "__pycache__" and not one.startswith(".")]
            for name in names:
                path = Path(folder, name)
                found[f"{prefix}/{path.relative_to(tree).as_posix()}"] = path
    return found


def test_the_links_point_at_the_folders() -> None:
    for name, target in LINKS.items():
        link = ROOT / "vlm2vec_cli" / name
        assert link.is_symlink(), f"{name} is no link: clone with core.symlinks=true"
        assert os.readlink(link) == target
        assert SETUPTOOLS["package-dir"][f"vlm2vec_cli.{name}"] == target.removeprefix("../")


def test_the_declared_packages_are_the_folders() -> None:
    folders = {name.rpartition("/")[0].replace("/", ".") for name in files() if name.endswith("/__init__.py")}
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders)


def test_every_folder_with_modules_is_a_package() -> None:
    with_modules = {
        name.rpartition("/")[0] for name in files() if name.endswith(".py") and "/quickstart/" not in name
    }
    assert {folder for folder in with_modules if f"{folder}/__init__.py" not in files()} == set()


def test_every_dependency_has_a_range() -> None:
    for one in PROJECT["project"]["dependencies"]:
        requirement = one.partition(";")[0]
        assert ">=" in requirement, one
        assert "<" in requirement, one


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel built from a copy of the checkout, so that nothing is left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tracked = ["pyproject.toml", "README.md", "LICENSE", "vlm2vec_cli", "commands", "schemas", "examples"]
    tree.mkdir()
    subprocess.run(["cp", "-a", *(str(ROOT / name) for name in tracked), str(tree)], check=True)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        tree,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_adds_vlm2vec_cli_alone(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vlm2vec_cli"}


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    expected = {name for name in files() if not name.endswith((".pyc", ".partial"))}
    assert expected - names == set()
    assert names - expected == set()


def test_the_wheel_holds_what_the_tree_holds_to_the_byte(wheel: zipfile.ZipFile) -> None:
    for name, path in files().items():
        if name.endswith(DATA):
            assert wheel.read(name) == path.read_bytes(), name


def test_the_wheel_runs_without_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "import vlm2vec_cli.app as app; print(app.__file__); app.run()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [str(tmp_path / "vlm2vec_cli" / "app.py"), f"vlm2vec {version()}"]


def version() -> str:
    text = (ROOT / "vlm2vec_cli" / "__init__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]
