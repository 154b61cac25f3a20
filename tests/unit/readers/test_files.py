import glob
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.readers import files

pymupdf = pytest.importorskip("pymupdf")


def read(mini: Any, *paths: str, **more: Any) -> list[dict[str, Any]]:
    entry = {"name": "default", "parser": "files", "paths": paths, "role": "candidate", **more}
    rows: list[dict[str, Any]] = mini.read(entry, "item")
    return rows


def test_a_folder_is_walked_in_natural_order(mini: Any) -> None:
    for name in ("pics/p10.jpg", "pics/p9.PNG", "pics/more/clip.mp4", "pics/notes.txt", "pics/.hidden.jpg"):
        mini.file(name)
    assert read(mini, "pics") == [
        {"id": "pics/p9.PNG", "dataset": "default", "role": "candidate", "image": "pics/p9.PNG"},
        {"id": "pics/p10.jpg", "dataset": "default", "role": "candidate", "image": "pics/p10.jpg"},
        {
            "id": "pics/more/clip.mp4",
            "dataset": "default",
            "role": "candidate",
            "video": "pics/more/clip.mp4",
        },
    ]
    assert dict(mini.left_out) == {"file that is no picture, PDF, video, zip or tar": 1, "hidden file": 1}


def test_a_pdf_gives_a_row_for_each_page(mini: Any) -> None:
    document = pymupdf.open()
    for _ in range(2):
        document.new_page()
    document.save(mini.root / "a b.pdf")
    rows = read(mini, "a b.pdf", instruction="Represent the page.")
    assert [(row["id"], row["image"], row["instruction"]) for row in rows] == [
        ("a b.pdf#page=1", "a b.pdf#page=1", "Represent the page."),
        ("a b.pdf#page=2", "a b.pdf#page=2", "Represent the page."),
    ]


def test_archives_are_entered(mini: Any) -> None:
    with zipfile.ZipFile(mini.root / "a.zip", "w") as packed:
        for name in ("x/2.jpg", "x/10.jpg", "x/read.me", "x/more.zip", "__MACOSX/x/._2.jpg", "x/._2.jpg"):
            packed.writestr(name, b"x")
    with tarfile.open(mini.root / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("./clip.mp4"))
    assert [row.get("image", row.get("video")) for row in read(mini, "a.zip", "b.tar")] == [
        "a.zip!x/2.jpg",
        "a.zip!x/10.jpg",
        "b.tar!clip.mp4",
    ]
    assert dict(mini.left_out) == {
        "file in an archive that is no picture, PDF or video": 2,
        "hidden file": 2,
    }


def paper(*texts: str) -> bytes:
    with pymupdf.open() as document:
        for text in texts:
            document.new_page().insert_text((72, 72), text)
        return bytes(document.tobytes())


@pytest.mark.parametrize("container", ["zip", "tar"])
def test_a_pdf_in_an_archive_gives_a_row_for_each_page(mini: Any, container: str) -> None:
    members = {"bad.pdf": b"no pdf", "in/a.pdf": paper("one", "two"), "z.jpg": b"x"}
    path = mini.root / f"papers.{container}"
    for name, content in members.items():
        mini.file(f"loose/{name}", content)
    if container == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name in members:
                packed.write(mini.root / "loose" / name, name)
    else:
        with tarfile.open(path, "w") as tar:
            tar.add(mini.root / "loose", ".")
    rows = read(mini, path.name, with_text=True)
    assert [(row["id"], row["image"], row.get("text")) for row in rows] == [
        (f"{path.name}!in/a.pdf#page=1", f"{path.name}!in/a.pdf#page=1", "one"),
        (f"{path.name}!in/a.pdf#page=2", f"{path.name}!in/a.pdf#page=2", "two"),
        (f"{path.name}!z.jpg", f"{path.name}!z.jpg", None),
    ]
    assert mini.rejected == [f"{path}!bad.pdf: is no PDF (begins with b'no pdf')"]
    for row in rows[:2]:
        assert MediaReader().image(row["image"], mini.root).width


@pytest.mark.parametrize(("name", "mode"), [("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar", "w:xz")])
def test_a_compressed_tar_is_refused_with_the_command_that_unpacks_it(
    mini: Any, name: str, mode: Any
) -> None:
    with tarfile.open(mini.root / name, mode) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    errors = []
    entry = {"name": "d", "parser": "files", "role": "candidate", "paths": ["."]}
    assert list(files.read(entry, replace(mini.raw(), reject=errors.append), "item")) == []
    (error,) = errors
    assert str(error) == f"{mini.root / name}: members of a compressed tar cannot be read one by one"
    subprocess.run(error.hint.partition("   then")[0], shell=True, check=True)
    (plain,) = {*mini.root.iterdir()} - {mini.root / name}
    assert [row["image"] for row in read(mini, plain.name)] == [f"{plain.name}!a.jpg"]


def test_a_file_of_another_kind_is_refused_where_it_was_named(mini: Any) -> None:
    mini.file("notes.docx")
    assert read(mini, "notes.docx", "*.docx", ".") == []
    assert mini.rejected == ["notes.docx: is no picture, PDF, video, zip or tar"]
    assert mini.left_out["file that is no picture, PDF, video, zip or tar"] == 2


def test_patterns_work_under_a_root_of_any_name(mini: Any) -> None:
    mini.root /= "album [1999]"
    mini.file("a/1.jpg")
    assert [row["id"] for row in read(mini, "*/*.jpg")] == ["a/1.jpg"]
    assert [row["image"] for row in read(mini, f"{glob.escape(str(mini.root))}/*/*.jpg")] == ["a/1.jpg"]


def test_patterns_and_what_is_missing(mini: Any) -> None:
    for name in ("a/1.jpg", "b/2.jpg", "b/[x].jpg"):
        mini.file(name)
    mini.file("broken.pdf", b"no pdf")
    rows = read(mini, "*/*.jpg", "gone.jpg", "*.gif", "broken.pdf", "b/[x].jpg")
    assert [row["id"] for row in rows] == ["a/1.jpg", "b/2.jpg", "b/[x].jpg"]
    assert mini.left_out["file that was named before"] == 1
    assert mini.rejected == [
        "gone.jpg: no such file or folder",
        "*.gif: no file matches this pattern",
        f"{mini.root}/broken.pdf: is no PDF (begins with b'no pdf')",
    ]


def test_a_pages_text_comes_beside_its_picture_where_it_is_wanted(mini: Any) -> None:
    import pymupdf

    with pymupdf.open() as document:
        for text in ("Invoice 17", ""):
            document.new_page().insert_text((72, 72), text)
        document.save(mini.root / "report.pdf")
    entry = {"name": "d", "parser": "files", "role": "candidate", "paths": ["report.pdf"]}
    assert [row.get("text") for row in mini.read({**entry, "with_text": True}, "item")] == [
        "Invoice 17",
        None,
    ]
    assert [row.get("text") for row in mini.read(entry, "item")] == [None, None]


def test_a_damaged_file_does_not_keep_the_others_of_its_folder_away(mini: Any) -> None:
    mini.file("all/a.zip", b"no zip")
    mini.file("all/b.jpg")
    entry = {"name": "d", "parser": "files", "role": "candidate", "paths": ["all"]}
    assert [row["id"] for row in mini.read(entry, "item")] == ["all/b.jpg"]
    assert mini.rejected == [f"{mini.root}/all/a.zip: no readable zip archive: File is not a zip file"]
