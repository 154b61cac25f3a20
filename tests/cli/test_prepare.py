"""`prepare` as users meet it: the real program on miniatures of raw data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import Runner

PAIR = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")
V2 = ("mmeb-v2", "--root", "MMEB-V2")
TRAIN = ("mmeb-train", "--root", "MMEB-V2")
IMAGE = ("qry_inst", "qry_text", "qry_img_path", "tgt_inst", "tgt_text", "tgt_img_path")


def parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """MMEB-train with ten pairs of OK-VQA and a folder of the user's own."""
    root = tmp_path / "MMEB-train"
    for name in ("OK-VQA", "Mine"):
        rows = []
        for number in range(10):
            path = f"images/{name}/Train/{number}.jpg"
            picture(root / path)
            rows.append(
                dict(zip(PAIR, (f"<|image_1|>\nq{number}\n", path, f"a{number}", "", "", ""), strict=True))
            )
        parquet(root / name / "original-00000-of-00001.parquet", rows)
    return root


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """MMEB-V2 with a local task, VOC2007 (2 queries, 3 labels), and a global one, MSR-VTT (3 videos)."""
    root = tmp_path / "MMEB-V2"
    picture(root / "image-tasks/V/a.jpg")
    parquet(
        root / "annotations/VOC2007/test-00000-of-00001.parquet",
        [
            dict(zip(IMAGE, ("<|image_1|>\nName it", "", "V/a.jpg", "", labels, ["", ""]), strict=True))
            for labels in (["cat", "dog"], ["sofa", "cat"])
        ],
    )
    videos = [{"video_id": f"video{n}", "caption": f"caption {n}"} for n in range(3)]
    parquet(root / "annotations/MSR-VTT/test-00000-of-00001.parquet", videos)
    for one in videos:
        picture(root / f"video-tasks/frames/video_ret/MSR-VTT/{one['video_id']}/frame_0001.jpg")
    return root


def test_pairs_of_a_subset(vlm2vec: Runner, train: Path) -> None:
    done = vlm2vec("prepare", "mmeb-train", "--root", "MMEB-train", "--subset", "OK-VQA", "--limit", "1")
    assert done.exit_code == 0
    assert done.rows == [
        {
            "schema": "vlm2vec/pair@1",
            "id": "1",
            "dataset": "OK-VQA",
            "query": {"text": "<image>\nq0\n", "image": "MMEB-train/images/OK-VQA/Train/0.jpg"},
            "positive": {"text": "a0"},
            "negatives": [],
        }
    ]
    assert done.stderr == b""


def test_of_each_task_queries_come_first(vlm2vec: Runner, evaluation: Path) -> None:
    done = vlm2vec("prepare", "mmeb-v2", "--root", "MMEB-V2")
    order = [(row["dataset"], row["role"], row["id"]) for row in done.rows]
    assert order == [
        *(("VOC2007", "query", name) for name in ("1", "2")),
        *(("VOC2007", "candidate", name) for name in ("cat", "dog", "sofa")),
        *(("MSR-VTT", "query", name) for name in ("1", "2", "3")),
        *(("MSR-VTT", "candidate", f"video{n}") for n in range(3)),
    ]
    assert done.stderr == b"vlm2vec: 2 of 78 datasets are in MMEB-V2\n"


def test_one_side_and_no_instruction(vlm2vec: Runner, evaluation: Path) -> None:
    given = (
        "prepare",
        "mmeb-v2",
        "--root",
        "MMEB-V2",
        "--task",
        "MSR-*",
        "--no-instruction",
        "--num-frames",
        "4",
    )
    queries = vlm2vec(*given, "--side", "query").rows
    assert [row["text"] for row in queries] == ["caption 0", "caption 1", "caption 2"]
    candidates = vlm2vec(*given, "--side", "candidate").rows
    assert {(row["role"], row["text"], row["num_frames"]) for row in candidates} == {
        ("candidate", "<video>", 4)
    }


def test_a_limit_narrows_the_candidates_of_pools_and_of_nothing_else(
    vlm2vec: Runner, evaluation: Path
) -> None:
    given = ("prepare", "mmeb-v2", "--root", "MMEB-V2")
    local = vlm2vec(*given, "--task", "VOC2007", "--limit", "1").rows
    assert [row["id"] for row in local] == ["1", "cat", "dog"]
    assert [
        row["id"] for row in vlm2vec(*given, "--task", "VOC2007", "--limit", "1", "--side", "candidate").rows
    ] == [
        "cat",
        "dog",
    ]
    ranked = vlm2vec(*given, "--task", "MSR-VTT", "--limit", "1").rows
    assert [row["id"] for row in ranked] == ["1", "video0", "video1", "video2"]


def test_a_sample_is_the_same_for_a_seed_and_in_order(vlm2vec: Runner, train: Path) -> None:
    given = ("prepare", "mmeb-train", "--root", "MMEB-train", "--subset", "OK-VQA", "--sample", "4")
    first, again, other = (vlm2vec(*given, "--seed", seed) for seed in ("1", "1", "2"))
    assert first.stdout == again.stdout != other.stdout
    ids = [int(row["id"]) for row in first.rows]
    assert len(ids) == 4
    assert ids == sorted(ids)


def test_references_start_from_the_folder_of_the_output(vlm2vec: Runner, train: Path) -> None:
    given = ("prepare", "mmeb-train", "--root", "MMEB-train", "--subset", "Mine", "--limit", "1")

    def written(path: Path) -> str:
        return str(json.loads(path.read_bytes())["query"]["image"])

    assert vlm2vec(*given, "-o", "MMEB-train/rows.jsonl").stderr == b""
    assert written(train / "rows.jsonl") == "images/Mine/Train/0.jpg"
    (vlm2vec.work / "out").mkdir()
    done = vlm2vec(*given, "-o", "out/rows.jsonl")
    assert written(vlm2vec.work / "out" / "rows.jsonl") == str(train / "images/Mine/Train/0.jpg")
    assert done.stderr.count(b"lie outside of the media root") == 1
    assert b"--media-root MMEB-train here" in done.stderr
    assert vlm2vec(*given, "-o", "out/rows.jsonl", "--media-root", "MMEB-train").stderr == b""
    assert written(vlm2vec.work / "out" / "rows.jsonl") == "images/Mine/Train/0.jpg"


def test_the_same_rows_come_out_of_parquet(vlm2vec: Runner, evaluation: Path) -> None:
    given = ("prepare", "mmeb-v2", "--root", "MMEB-V2", "--task", "VOC2007")
    assert vlm2vec(*given, "-o", "rows.parquet").exit_code == 0
    table = pq.read_table(vlm2vec.work / "rows.parquet").to_pylist()
    rows = vlm2vec(*given).rows
    assert [row["text"] for row in table] == [row["text"] for row in rows]
    assert dict(table[0]["relevant"]) == rows[0]["relevant"]


def test_the_catalogue_says_what_is_there(vlm2vec: Runner, evaluation: Path) -> None:
    done = vlm2vec("prepare", "mmeb-v2", "--list", "--root", "MMEB-V2", "--task", "VOC2007", "--task", "MSVD")
    assert done.stdout.decode().splitlines() == [
        "NAME     MODALITY  GROUP  TYPE                     SIZE  FOUND                MISSING",
        "VOC2007  image     I-CLS  image classification     1000  annotations + media",
        "MSVD     video     V-RET  text-to-video retrieval  670   -                    "
        "MSVD/test-*.parquet of VLM2Vec/MSVD on the hub; "
        "video-tasks/frames/video_ret.tar.gz of TIGER-Lab/MMEB-V2 on the hub",
    ]
    listed = vlm2vec("prepare", "mmeb-v2", "--list", "--format", "jsonl").rows
    assert len(listed) == 78
    assert listed[0] == {
        "name": "ImageNet-1K",
        "modality": "image",
        "group": "I-CLS",
        "task_type": "image classification",
        "size": 1000,
        "repository": "ziyjiang/MMEB_Test_Instruct",
    }


def test_other_folders_are_subsets_too(vlm2vec: Runner, train: Path) -> None:
    listed = vlm2vec("prepare", "mmeb-train", "--list", "--root", "MMEB-train", "--format", "jsonl").rows
    assert len(listed) == 21
    assert [row["name"] for row in listed if row["annotations"]] == ["OK-VQA", "Mine"]
    assert len(vlm2vec("prepare", "mmeb-train", "--root", "MMEB-train").rows) == 20


def test_without_a_root_no_other_folder_is_a_subset(vlm2vec: Runner, train: Path) -> None:
    vlm2vec.write("Mine/original-00000-of-00001.parquet", b"")
    assert len(vlm2vec("prepare", "mmeb-train", "--list", "--format", "jsonl").rows) == 20


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("mmeb-v3",), 2, b"unknown source 'mmeb-v3'\nhint: did you mean 'mmeb-v2'"),
        (("mmeb-v2",), 2, b"mmeb-v2 needs --root DIR"),
        ((*V2, "--task", "VOC2077"), 2, b"no dataset 'VOC2077' in mmeb-v2\nhint: did you mean 'VOC2007'"),
        ((*V2, "--map", "a=b"), 2, b"--map has no use with mmeb-v2\nhint: it is for table"),
        ((*V2, "--list", "--format", "html"), 2, b"--format: a list is text or jsonl, not html"),
        ((*V2, "--check", "--format", "csv"), 2, b"--format: a check is text or jsonl, not csv"),
        ((*V2, "--check", "-o", "x.parquet"), 2, b"--format: a check is text or jsonl, not parquet"),
        (("table", "-", "--map", "query.text=a", "--role", "query"), 2, b"--role has no use for training"),
        ((*V2, "--side", "both?"), 2, b"--side: expected query, candidate or both"),
        (("mmeb-v2", "--root", "gone"), 66, b"gone: no such folder"),
        (("mmeb-v2", "--root", "."), 66, b".: no dataset of the catalogue is here"),
        ((*V2, "--task", "MSVD"), 66, b"hint: they are the dataset VLM2Vec/MSVD on the hub"),
        ((*TRAIN, "--no-instruction"), 2, b"--no-instruction has no use with mmeb-train"),
        (("sgg",), 2, b"sgg needs files\nhint: vlm2vec prepare sgg PATH...\n"),
        ((*TRAIN, "--side", "query"), 2, b"--side has no use for training pairs"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said_in_a_line(
    vlm2vec: Runner, evaluation: Path, args: Sequence[str], code: int, said: bytes
) -> None:
    done = vlm2vec("prepare", *args)
    assert (done.exit_code, done.stdout) == (code, b"")
    assert said in done.stderr


def test_a_missing_picture_stops_the_run_or_is_counted(vlm2vec: Runner, evaluation: Path) -> None:
    (evaluation / "image-tasks/V/a.jpg").rename(evaluation / "image-tasks/V/b.jpg")
    given = ("prepare", "mmeb-v2", "--root", "MMEB-V2", "--task", "VOC2007")
    done = vlm2vec(*given)
    assert done.exit_code == 66
    place = "MMEB-V2/annotations/VOC2007/test-00000-of-00001.parquet row 1"
    expected = (
        f"vlm2vec: error: {place}: image V/a.jpg: not in MMEB-V2/image-tasks, MMEB-V2/image-tasks/MMEB\n"
    )
    assert done.stderr.decode().startswith(expected)
    done = vlm2vec(*given, "--on-error", "skip", "--rejects", "bad.jsonl", "--allow-rejects", "2")
    assert done.exit_code == 0
    assert [row["role"] for row in done.rows] == ["candidate"] * 3
    bad = [json.loads(line) for line in (vlm2vec.work / "bad.jsonl").read_text().splitlines()]
    assert [(row["place"], row["code"]) for row in bad] == [
        (place, 66),
        (place.replace("row 1", "row 2"), 66),
    ]
