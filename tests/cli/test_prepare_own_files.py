"""`prepare` over what is no benchmark: files, tables, BEIR folders."""

from pathlib import Path

from runner import Runner


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_files_by_a_list_on_stdin(vlm2vec: Runner) -> None:
    for name in ("a b.jpg", "c.mp4"):
        picture(vlm2vec.work / name)
    given = ("prepare", "files", "--dataset", "album", "--role", "query")
    done = vlm2vec(*given, stdin=b"a b.jpg\nc.mp4\n")
    assert vlm2vec(*given, "-", stdin=b"a b.jpg\nc.mp4\n") == done
    assert done.rows == [
        {
            "schema": "vlm2vec/item@1",
            "id": "a b.jpg",
            "dataset": "album",
            "role": "query",
            "image": "a b.jpg",
        },
        {"schema": "vlm2vec/item@1", "id": "c.mp4", "dataset": "album", "role": "query", "video": "c.mp4"},
    ]


def test_a_table_on_stdin(vlm2vec: Runner) -> None:
    done = vlm2vec(
        "prepare",
        "table",
        "-",
        "--map",
        "query.text=q",
        "--map",
        "positive.text={a}!",
        stdin=b"q,a\nwho?,me\n",
    )
    assert done.rows == [
        {
            "schema": "vlm2vec/pair@1",
            "id": "1",
            "dataset": "default",
            "query": {"text": "who?"},
            "positive": {"text": "me!"},
            "negatives": [],
        }
    ]


def test_a_beir_folder(vlm2vec: Runner) -> None:
    vlm2vec.write("scifact/queries.jsonl", [{"_id": "q1", "text": "who?"}])
    vlm2vec.write("scifact/corpus.jsonl", [{"_id": "d1", "title": "Me", "text": "It was me."}])
    vlm2vec.write("scifact/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    done = vlm2vec("prepare", "beir", "--root", "scifact")
    assert [(row["dataset"], row["role"], row["id"]) for row in done.rows] == [
        ("scifact", "query", "q1"),
        ("scifact", "candidate", "d1"),
    ]


def test_rows_left_out_are_counted_on_stderr(vlm2vec: Runner) -> None:
    picture(vlm2vec.work / "pics/a.jpg")
    picture(vlm2vec.work / "pics/read.me")
    done = vlm2vec("prepare", "files", "pics")
    assert len(done.rows) == 1
    assert done.stderr == b"vlm2vec: warning: 1 left out: file that is no picture, PDF, video, zip or tar\n"
