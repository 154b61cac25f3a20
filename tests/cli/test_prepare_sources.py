"""`prepare` over miniatures of the published data: what is there, whether it can be opened."""

import json

import pytest

import raw_data
import raw_sets
import raw_tasks
from runner import Runner

V2 = ("prepare", "mmeb-v2", "--root", "MMEB-V2")


def test_the_catalogue_names_78_tasks_and_what_is_missing(vlm2vec: Runner) -> None:
    root = vlm2vec.work / "MMEB-V2"
    raw_tasks.mmeb_v2(root, "VOC2007")
    raw_tasks.mmeb_v2(root, "MVBench")
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
    raw_tasks.mmeb_v2(root, "VOC2007")
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
    raw_sets.llava_hound(vlm2vec.work / "hound")
    given = ("prepare", "llava-hound", "--root", "hound", "--task", "video_caption_300k")
    done = vlm2vec(*given, "--check", "--format", "jsonl")
    assert done.exit_code == 0
    assert [(row["rows"], row["media"]) for row in done.rows] == [(2, 2)]
    assert b"1 left out: video_caption_300k: video without a folder of frames" in done.stderr
    raw_data.put(vlm2vec.work, "hound/train_300k/v_b-Scene-002/c01_0008.jpeg", b"\xff\xd8\xff cut")
    assert vlm2vec(*given, "--check").exit_code == 65


ROUND_TRIP = (
    "VOC2007", "OK-VQA", "MSCOCO_i2t", "WebQA", "CIRR", "K700", "SmthSmthV2", "MSR-VTT", "QVHighlight",
    "MomentSeeker", "Video-MME", "ViDoRe_docvqa", "VisRAG_ChartQA",
)  # fmt: skip
"""A task of every kind; of both evaluations, over the query's pool and over all candidates."""


@pytest.mark.slow
@pytest.mark.parametrize("task", ROUND_TRIP)
def test_a_task_of_every_kind_is_embedded_and_scored(vlm2vec: Runner, task: str) -> None:
    raw_tasks.mmeb_v2(vlm2vec.work / "MMEB-V2", task)
    assert vlm2vec(*V2, "--task", task, "-o", "rows.jsonl").exit_code == 0
    embed = ("embed", "rows.jsonl", "-m", "tiny", "--dtype", "float32", "--max-pixels", "6272")
    assert vlm2vec(*embed, "-o", "vectors.parquet").exit_code == 0
    done = vlm2vec("score", "vectors.parquet", "--bootstrap", "10", "--format", "jsonl")
    assert done.exit_code == 0
    (score,) = done.rows
    facts = raw_tasks.expected()[task]
    assert (score["dataset"], score["num_queries"]) == (task, len(facts["queries"]))
    assert score["main_metric"] == facts["facts"]["main_metric"]
    assert 0 <= score["main_score"] <= 1
