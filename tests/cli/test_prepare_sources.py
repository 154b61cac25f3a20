"""`prepare` over miniatures of the published data: what is there, whether it can be opened, what is wrong."""

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import raw_data
from runner import Runner

V2 = ("prepare", "mmeb-v2", "--root", "MMEB-V2")


def test_the_catalogue_names_78_tasks_and_what_is_missing(vlm2vec: Runner) -> None:
    root = vlm2vec.work / "MMEB-V2"
    raw_data.mmeb_v2(root, "VOC2007")
    raw_data.mmeb_v2(root, "MVBench")
    raw_data.pack(root / "video-tasks/frames/video_qa", root / "video-tasks/frames/video_qa.tar.gz")
    done = vlm2vec(*V2, "--list", "--format", "jsonl")
    rows = {row["name"]: row for row in done.rows}
    assert len(rows) == 78
    modalities = [row["modality"] for row in rows.values()]
    assert [modalities.count(one) for one in ("image", "video", "visdoc")] == [36, 18, 24]
    assert (rows["VOC2007"]["annotations"], rows["VOC2007"]["media"], rows["VOC2007"]["missing"]) == (
        True,
        True,
        [],
    )
    packed = "MMEB-V2/video-tasks/frames/video_qa.tar"
    command = f"gunzip -c {packed}.gz > {packed}"
    assert rows["MVBench"]["annotations"]
    assert rows["MVBench"]["missing"] == [{"file": "video-tasks/frames/video_qa.tar.gz", "command": command}]
    assert rows["MSR-VTT"]["missing"] == [
        {"file": "MSR-VTT/test_1k/test-*.parquet", "repository": "VLM2Vec/MSR-VTT"},
        {"file": "video-tasks/frames/video_ret.tar.gz", "repository": "TIGER-Lab/MMEB-V2"},
    ]
    assert [piece["file"] for piece in rows["VisRAG_ChartQA"]["missing"]] == [
        f"VisRAG-Ret-Test-ChartQA/{part}/train-*.parquet" for part in ("queries", "corpus", "qrels")
    ]
    shown = vlm2vec(*V2, "--list", "--task", "M*VTT").stdout.decode().splitlines()
    assert shown[1].split("  ")[-1] == (
        "MSR-VTT/test_1k/test-*.parquet of VLM2Vec/MSR-VTT on the hub; "
        "video-tasks/frames/video_ret.tar.gz of TIGER-Lab/MMEB-V2 on the hub"
    )


def test_media_are_checked_before_a_model_needs_them(vlm2vec: Runner) -> None:
    root = vlm2vec.work / "MMEB-V2"
    raw_data.mmeb_v2(root, "VOC2007")
    done = vlm2vec(*V2, "--check")
    assert done.exit_code == 0
    head, summary, tiny = done.stdout.decode().splitlines()
    assert head.split() == ["DATASET", "ROWS", "MEDIA", "MISSING", "DAMAGED", "TINY", "EXTREME"]
    assert summary.split() == ["VOC2007", "5", "2", "0", "0", "1", "0"]
    assert tiny == "tiny: VOC2007 query 2: image MMEB-V2/image-tasks/T/q1.jpg: 20 x 28 pixels"

    raw_data.put(root, "image-tasks/T/q0.jpg", raw_data.encoded()[:60])
    (root / "image-tasks/T/q1.jpg").unlink()
    done = vlm2vec(*V2, "--check", "--format", "jsonl", "-o", "report.jsonl")
    assert done.exit_code == 66
    assert b"1 media are missing\nhint: --on-error skip" in done.stderr
    found = [json.loads(line) for line in (vlm2vec.work / "report.jsonl").read_text().splitlines()]
    missing, damaged, summed = found
    assert missing["problem"] == "missing"
    assert missing["place"].endswith("VOC2007/test-00000-of-00001.parquet row 2")
    assert (damaged["problem"], damaged["place"]) == ("damaged", "query 1")
    assert damaged["reference"] == "MMEB-V2/image-tasks/T/q0.jpg"
    assert summed == {
        "dataset": "VOC2007", "rows": 4, "media": 1, "missing": 1, "damaged": 1, "tiny": 0, "extreme": 0,
    }  # fmt: skip


def test_pairs_and_videos_are_checked_too(vlm2vec: Runner) -> None:
    raw_data.llava_hound(vlm2vec.work / "hound")
    given = ("prepare", "llava-hound", "--root", "hound", "--task", "video_caption_300k")
    done = vlm2vec(*given, "--check", "--format", "jsonl")
    assert done.exit_code == 0
    assert [(row["rows"], row["media"]) for row in done.rows] == [(2, 2)]
    assert b"1 left out: video_caption_300k: video without a folder of frames" in done.stderr
    raw_data.put(vlm2vec.work, "hound/train_300k/v_b-Scene-002/c01_0008.jpeg", b"\xff\xd8\xff cut")
    assert vlm2vec(*given, "--check").exit_code == 65


def truncated_parquet(work: Path) -> None:
    raw_data.mmeb_train(work / "data")
    path = work / "data/OK-VQA/original-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-30])


def cut_line(work: Path) -> None:
    raw_data.llava_hound(work / "data")
    path = work / "data/video_instruction/train/sft/video_240k_caption_15k.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def evil_zip(work: Path) -> None:
    (work / "data").mkdir()
    with zipfile.ZipFile(work / "data/photos.zip", "w") as packed:
        packed.writestr("../../evil.png", raw_data.encoded())


def evil_tar(name: str, link: str = "") -> Callable[[Path], None]:
    def build(work: Path) -> None:
        (work / "data").mkdir()
        with tarfile.open(work / "data/photos.tar", "w") as tar:
            info = tarfile.TarInfo(name)
            if link:
                info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)

    return build


@pytest.mark.parametrize(
    ("build", "args", "code", "said"),
    [
        (truncated_parquet, "mmeb-train --root data --subset OK-VQA", 65,
         "data/OK-VQA/original-00000-of-00001.parquet: not a readable Parquet file: "),
        (cut_line, "llava-hound --root data --task video_qa_240k", 65,
         "data/video_instruction/train/sft/video_240k_caption_15k.jsonl line 2: not JSON: "),
        (evil_zip, "files data", 65, "data/photos.zip: the zip member '../../evil.png' leaves the archive"),
        (evil_tar("/etc/evil.png"), "files data", 65,
         "data/photos.tar: the tar member '/etc/evil.png' leaves the archive"),
        (evil_tar("a.png", "/etc/passwd"), "files data", 65,
         "data/photos.tar: the tar member 'a.png' is a link that leaves the archive: /etc/passwd"),
        (evil_tar("v/a.png", "../../b.png"), "files data", 65,
         "data/photos.tar: the tar member 'v/a.png' is a link that leaves the archive: ../../b.png"),
        (truncated_parquet, "mmeb-train --root data --subset OKVQA", 2, "no dataset 'OKVQA' in mmeb-train"),
        (truncated_parquet, "mix --root data --preset vlm2vec-v3", 2, "--preset: expected vlm2vec-v2, "),
        (truncated_parquet, "llava-hound --root data", 66, "no dataset of the catalogue is here"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_half_written(
    vlm2vec: Runner, build: Callable[[Path], None], args: str, code: int, said: str
) -> None:
    build(vlm2vec.work)
    done = vlm2vec("prepare", *args.split(), "-o", "rows.jsonl")
    error, *hint = done.stderr.decode().splitlines()
    assert (done.exit_code, done.stdout) == (code, b"")
    assert error.startswith("vlm2vec: error: ")
    assert said in error
    assert all(line.startswith("hint: ") for line in hint[:1])
    assert not (vlm2vec.work / "rows.jsonl").exists()
    partial = vlm2vec.work / "rows.jsonl.partial"
    assert all(json.loads(line) for line in (partial.read_text().splitlines() if partial.exists() else ()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_one_line(vlm2vec: Runner) -> None:
    raw_data.put(vlm2vec.work, "data/locked/a.png")
    (vlm2vec.work / "data/locked").chmod(0)
    done = vlm2vec("prepare", "files", "data")
    (vlm2vec.work / "data/locked").chmod(0o700)
    assert (done.exit_code, done.stdout) == (66, b"")
    assert b"data/locked: cannot be read: Permission denied" in done.stderr


ROUND_TRIP = (
    "VOC2007", "OK-VQA", "MSCOCO_i2t", "WebQA", "CIRR", "K700", "SmthSmthV2", "MSR-VTT", "QVHighlight",
    "MomentSeeker", "Video-MME", "ViDoRe_docvqa", "VisRAG_ChartQA",
)  # fmt: skip
"""A task of every kind; of both evaluations, over the query's pool and over all candidates."""


@pytest.mark.slow
@pytest.mark.parametrize("task", ROUND_TRIP)
def test_a_task_of_every_kind_is_embedded_and_scored(vlm2vec: Runner, task: str) -> None:
    raw_data.mmeb_v2(vlm2vec.work / "MMEB-V2", task)
    assert vlm2vec(*V2, "--task", task, "-o", "rows.jsonl").exit_code == 0
    embed = ("embed", "rows.jsonl", "-m", "tiny", "--dtype", "float32", "--max-pixels", "6272")
    assert vlm2vec(*embed, "-o", "vectors.parquet").exit_code == 0
    done = vlm2vec("score", "vectors.parquet", "--bootstrap", "10", "--format", "jsonl")
    assert done.exit_code == 0
    (score,) = done.rows
    facts = raw_data.expected()[task]
    assert (score["dataset"], score["num_queries"]) == (task, len(facts["queries"]))
    assert score["main_metric"] == facts["facts"]["main_metric"]
    assert 0 <= score["main_score"] <= 1
