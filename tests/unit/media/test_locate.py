"""Which paths are inside of a media root: none of those outside may be opened unless told."""

import os
from pathlib import Path

import pytest

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media import locate


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """`media` with links out of it, beside `outside` and `media2`."""
    for folder in ("media/in", "outside", "media2"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("media/in/a", "outside/a", "media2/a"):
        (tmp_path / file).write_text("x")
    (tmp_path / "media/link").symlink_to("in/a")
    (tmp_path / "media/out").symlink_to("../outside/a")
    (tmp_path / "media/outdir").symlink_to(tmp_path / "outside")
    (tmp_path / "media/up").symlink_to("..")
    (tmp_path / "alias").symlink_to("media")
    return tmp_path


INSIDE = ["in/a", "in/../in/a", "link", "in//a", "./in/a", ".", "not/there", "up/media/in/a", "in/a/"]
OUTSIDE = [
    "..", "../nothing", "../media2/a", "in/../../outside/a", "out", "outdir/a", "outdir", "up/outside/a",
    "../media/../media2/a", "not/../../outside/a", os.devnull, "/",
]  # fmt: skip


@pytest.mark.parametrize("top", ["media", "alias"])
@pytest.mark.parametrize("path", INSIDE)
def test_inside(tree: Path, top: str, path: str) -> None:
    assert locate.within(tree / top, path, trust=False).startswith(os.path.realpath(tree / "media"))


@pytest.mark.parametrize("top", ["media", "alias"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_outside_is_refused_unless_trusted(tree: Path, top: str, path: str) -> None:
    with pytest.raises(DataError) as caught:
        locate.within(tree / top, path, trust=False)
    assert str(tree / top) in caught.value.fact
    assert caught.value.hint is not None
    assert "--media-root" in caught.value.hint
    assert "--trust-paths" in caught.value.hint
    assert locate.within(tree / top, path, trust=True) == os.path.realpath(tree / top / path)


def test_absolute_paths_inside_are_allowed(tree: Path) -> None:
    assert locate.within(tree / "alias", str(tree / "media/in/a"), trust=False).endswith("media/in/a")


def test_the_root_of_the_file_system_holds_everything(tree: Path) -> None:
    assert locate.within(Path("/"), str(tree / "media2/a"), trust=False) == os.path.realpath(
        tree / "media2/a"
    )


@pytest.mark.parametrize("path", ["a\0b", "\ud800.png"])
def test_what_is_no_path_is_bad_data(tree: Path, path: str) -> None:
    with pytest.raises(DataError, match="not a path"):
        locate.within(tree / "media", path, trust=True)


def test_a_missing_file_gets_the_likeliest_remedy(tree: Path) -> None:
    root = tree / "media"
    (root / "pictures.zip").write_bytes(b"")
    real = locate.within(root, "pictures/b.png", trust=False)
    error = locate.missing(root, "pictures/b.png", real)
    assert error.fact == f"no such file in {root}"
    assert (
        error.hint == "pictures.zip is there: pictures.zip!b.png or pictures.zip!pictures/b.png reads from it"
    )
    assert locate.missing(root, "lnk", str(root / "lnk")).hint == "did you mean 'link'?"
    assert "--media-root" in str(locate.missing(root, "in/zzz", str(root / "in/zzz")).hint)


def test_the_quickstart_folder_is_found() -> None:
    assert locate.quickstart_root().name == "quickstart"
