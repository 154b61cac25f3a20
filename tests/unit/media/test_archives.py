import gc
import io
import os
import struct
import subprocess
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.media.archives import Archive, member_name, open_archive


def tar_of(
    path: Path, *members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT
) -> Archive:
    with tarfile.open(path, "w", format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return open_archive(str(path), path.name, "tar")


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_of(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Archive:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return open_archive(str(path), path.name, "zip")


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("a/b", "a/b"),
        ("./a/b", "a/b"),
        ("/a//b/", "a/b"),
        ("", ""),
        ("/", ""),
        ("./", ""),
        ("a/../b", "b"),
        ("..a", "..a"),
    ],
)
def test_member_names_are_normal(name: str, normal: str) -> None:
    assert member_name(name) == normal


@pytest.mark.parametrize("name", ["..", "../a", "a/../../b", "/../a", "./../a"])
def test_member_names_cannot_leave_the_archive(name: str) -> None:
    with pytest.raises(DataError, match="leaves the archive"):
        member_name(name)


def test_zip_and_tar_give_the_same_members(tmp_path: Path) -> None:
    members = {"top.png": b"1", "v/2.png": b"22", "v/w/3.png": b"", "v/ü 'x'!#.png": b"4" * 5000}
    for archive in (zip_of(tmp_path / "a.zip", members), tar_of(tmp_path / "a.tar", *members.items())):
        assert {name: archive.read(name, 5000) for name in members} == members
        assert sorted(archive.names_in("v")) == ["2.png", "ü 'x'!#.png"]
        assert archive.names_in("") == ["top.png"]
        assert archive.names_in("nowhere") == []
        assert not archive.has("v")
        assert archive.similar("v/22.png") == "did you mean '2.png'?"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_formats_and_names(tmp_path: Path, form: int) -> None:
    long = "f/" + "n" * 90 + ".png"
    archive = tar_of(tmp_path / "a.tar", ("./a.png", b"a"), (long, b"b"), ("/abs/c.png", b"c"), form=form)
    assert (archive.read("a.png", 9), archive.read(long, 9), archive.read("abs/c.png", 9)) == (
        b"a",
        b"b",
        b"c",
    )


def test_links_inside_a_tar_are_followed_and_others_lead_nowhere(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "a.tar",
        ("d/a.png", b"content"),
        link("d/hard.png", "d/a.png", tarfile.LNKTYPE),
        link("d/soft.png", "a.png"),
        link("twice.png", "d/soft.png"),
        link("out.png", "../../etc/passwd"),
        link("absolute.png", "/etc/passwd"),
        link("loop1", "loop2"),
        link("loop2", "loop1"),
    )
    for name in ("d/hard.png", "d/soft.png", "twice.png"):
        assert archive.read(name, 100) == b"content"
    for name in ("out.png", "absolute.png", "loop1", "loop2"):
        assert not archive.has(name)


def test_the_last_of_equal_names_counts_in_a_tar(tmp_path: Path) -> None:
    assert tar_of(tmp_path / "a.tar", ("a", b"old"), ("./a", b"new")).read("a", 9) == b"new"


def test_members_have_a_size_limit_that_is_checked_before_reading(tmp_path: Path) -> None:
    bomb = {"bomb": bytes(10_000_000)}
    for archive in (zip_of(tmp_path / "a.zip", bomb), tar_of(tmp_path / "a.tar", *bomb.items())):
        with pytest.raises(DataError, match=r"larger than 1,000 bytes \(10,000,000\)"):
            archive.read("bomb", 1000)


def test_a_zip_member_that_understates_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, {"bomb": bytes(100_000)})
    content = bytearray(path.read_bytes())
    for mark, field in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = content.index(mark) + field
        assert struct.unpack_from("<I", content, place) == (100_000,)
        struct.pack_into("<I", content, place, 10)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        open_archive(str(path), "a.zip", "zip").read("bomb", 1000)


def test_an_encrypted_zip_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, {"a": b"x"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[content.index(b"PK\x03\x04") + 6] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        open_archive(str(path), "a.zip", "zip").read("a", 100)


def test_damage_inside_a_zip_member_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, {"a": b"abcdefgh" * 10}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"habc", b"hxbc", 1))
    with pytest.raises(DataError, match="the zip member is damaged: Bad CRC"):
        open_archive(str(path), "a.zip", "zip").read("a", 1000)


def test_a_cut_tar_is_damaged_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    tar_of(path, *((f"v/{number}.png", bytes(700)) for number in range(5)))
    whole = path.read_bytes()
    end = whole.rindex(b"v/4.png") + 512 + 1024  # header and padded content of the last member
    for size in range(1, end, 250):
        path.write_bytes(whole[:size])
        if size % 512 == 0:
            continue  # cut between two blocks: may be a tar without end mark
        with pytest.raises(DataError):
            open_archive(str(path), "a.tar", "tar").read("v/4.png", 1000)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    tar_of(path, *((f"v/{number}.png", bytes(700)) for number in range(5)))
    content = bytearray(path.read_bytes())
    place = content.index(b"v/3.png")
    content[place : place + 512] = b"x" * 512
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"the tar archive a\.tar is damaged: no member header at byte 4,608"):
        open_archive(str(path), "a.tar", "tar")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("content", [b"", b"hello world" * 100, b"PK\x03\x04 cut", bytes(100)])
def test_what_is_no_archive_is_bad_data(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"the {kind} archive a\.{kind} is damaged"):
        open_archive(str(path), path.name, kind)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("it's.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
        ("a.tar", "w:gz"),
    ],
)
def test_a_compressed_tar_is_refused_with_a_command_that_works(tmp_path: Path, name: str, mode: str) -> None:
    path = tmp_path / name
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("a.png")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"data"))
    with pytest.raises(DataError, match="compressed tar") as caught:
        open_archive(str(path), name, "tar" if name.endswith(".tar") else "compressed-tar")
    assert caught.value.hint is not None
    command, _, then = caught.value.hint.partition("   then refer to ")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    plain = then.removesuffix("!...")
    assert open_archive(str(tmp_path / plain), plain, "tar").read("a.png", 100) == b"data"


def test_an_archive_closes_its_file(tmp_path: Path) -> None:
    def open_files() -> list[str]:
        return [
            os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)
        ]

    archive = tar_of(tmp_path / "a.tar", ("a", b"x"))
    path = str(tmp_path / "a.tar")
    assert path in open_files()
    del archive
    assert path not in open_files()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_in_a_cycle_of_references_closes_its_file_in_silence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    archive = zip_of(path, {"a": b"x"}) if kind == "zip" else tar_of(path, ("a", b"x"))
    before = len(os.listdir("/proc/self/fd"))
    cycle: list[object] = [archive]
    cycle.append(cycle)
    del archive, cycle
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_damaged_header_is_not_quoted_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.png", b"\xff" * 5000)
    content = bytearray(path.read_bytes())
    content[26:28] = (2000).to_bytes(2, "little")  # the length of the name before the member
    path.write_bytes(content)
    with pytest.raises(DataError, match="the zip member is damaged: File name") as raised:
        open_archive(str(path), "a.zip", "zip").read("a.png", 10_000)
    assert len(raised.value.fact) < 400
