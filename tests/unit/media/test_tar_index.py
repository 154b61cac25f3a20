import io
import os
import tarfile
from pathlib import Path

import pytest

from vlm2vec_cli.media import tar_index


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tar of three members and a link, which is enough to be worth an index here."""
    monkeypatch.setattr(tar_index, "WORTH_KEEPING", 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "frames.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.png", "v/\u00fc 1.png", "v/2.png"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()[: info.size]))
        link = tarfile.TarInfo("v/again.png")
        link.type, link.linkname = tarfile.SYMTYPE, "2.png"
        tar.addfile(link)
    return path


def test_an_index_is_made_once_beside_the_archive(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tar_index.members(str(archive))
    assert sorted(found) == ["a.png", "v/2.png", "v/again.png", "v/\u00fc 1.png"]
    assert (archive.parent / ".frames.tar.index").is_file()
    monkeypatch.setattr(tar_index, "scan", lambda _: pytest.fail("read again"))
    assert tar_index.members(str(archive)) == found


def test_another_archive_of_the_same_name_is_read_anew(archive: Path) -> None:
    tar_index.members(str(archive))
    with tarfile.open(archive, "w") as tar:
        for number in range(4):
            tar.addfile(tarfile.TarInfo(f"new{number}"))
    assert sorted(tar_index.members(str(archive))) == [f"new{number}" for number in range(4)]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"stamp":[1]}', b"[]"])
def test_a_damaged_index_is_none(archive: Path, damage: bytes) -> None:
    found = tar_index.members(str(archive))
    (archive.parent / ".frames.tar.index").write_bytes(damage)
    assert tar_index.members(str(archive)) == found


def test_where_nothing_can_be_written_beside_it_the_cache_folder_has_it(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = os.replace

    def read_only(source: str, target: str) -> None:
        if Path(target).parent == archive.parent:
            raise PermissionError(13, "Permission denied")
        replaced(source, target)

    monkeypatch.setattr(os, "replace", read_only)
    found = tar_index.members(str(archive))
    assert sorted(one.name for one in archive.parent.iterdir()) == ["frames.tar"]
    assert len(list((tmp_path / "cache" / "vlm2vec").iterdir())) == 1
    monkeypatch.setattr(tar_index, "scan", lambda _: pytest.fail("read again"))
    assert tar_index.members(str(archive)) == found


def test_a_small_archive_is_left_alone(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_index, "WORTH_KEEPING", 5)
    tar_index.members(str(archive))
    assert [one.name for one in archive.parent.iterdir()] == ["frames.tar"]
