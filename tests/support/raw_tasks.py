"""Miniatures of the evaluation tasks, the 78 of MMEB-V2 and some of the first MMEB, as published.

What the rows of MMEB-V2's miniatures have to become stands in `golden/mmeb_v2_rows.json`, written down from
the published description of the tasks; here is only how the raw files look.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from raw_data import IMAGE_STRUCT, encoded, parquet, put

GOLDEN = Path(__file__).parents[1] / "golden" / "mmeb_v2_rows.json"


@cache
def expected() -> dict[str, Any]:
    """Task to what its miniature holds and has to become."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


def mmeb_v2(root: Path, task: str) -> None:
    """The annotations and media of one of the 78 tasks."""
    facts = expected()[task]
    parser = facts["parser"]
    build = {
        "momentseeker": _momentseeker,
        "moment_retrieval": _moments,
        "vidore": _pages,
        "visrag": _pages,
    }.get(parser)
    if build is not None:
        build(root, task, facts)
    elif parser.startswith("image_"):
        _pictures(root, task, facts)
    else:
        _videos(root, task, facts)


def _pictures(root: Path, task: str, facts: Mapping[str, Any]) -> None:
    rows = []
    for number, question in enumerate(facts["questions"]):
        path = f"T/q{number}.jpg"
        put(root / "image-tasks", path, encoded(20 if number else 30))
        rows.append(
            {
                "qry_inst": facts["qry_inst"],
                "qry_text": question,
                "qry_img_path": "" if facts["parser"] == "image_t2i" else path,
                "tgt_inst": facts["tgt_inst"],
                "tgt_text": facts["tgt_text"][number],
                "tgt_img_path": facts["tgt_img_path"][number],
            }
        )
        for target in facts["tgt_img_path"][number]:
            if target:
                put(root / "image-tasks", target)
    parquet(root, f"annotations/{task}/test-00000-of-00001.parquet", rows)


QUESTION = {"question": "Why does it stop?"}
VIDEO_ROWS: dict[str, list[tuple[str | None, dict[str, Any]]]] = {
    "MSR-VTT": [(None, {"video_id": "v0", "video": "v0.mp4", "caption": "a dog  runs"}),
                (None, {"video_id": "v1", "video": "v1.mp4", "caption": 'a cat "sits"'})],
    "MSVD": [(None, {"video_id": "v0", "video": "v0.avi", "caption": ["a dog  runs", "no"]}),
             (None, {"video_id": "v1", "video": "v1.avi", "caption": ['a cat "sits"', "no"]})],
    "DiDeMo": [(None, {"video": "x/v0.mp4", "caption": "a dog  runs"}),
               (None, {"video": "x/v1.mp4", "caption": 'a cat "sits"'})],
    "YouCook2": [(None, {"id": "v0", "video_path": "101/a.mp4", "sentence": "a dog  runs"}),
                 (None, {"id": "v1", "video_path": "101/a.mp4", "sentence": 'a cat "sits"'})],
    "VATEX": [(None, {"videoID": "v0", "enCap": ["a dog  runs", "no"]}),
              (None, {"videoID": "v1", "enCap": ['a cat "sits"', "no"]})],
    "MVBench": [
        ("episodic_reasoning",
         {**QUESTION, "video": "v1.mp4", "candidates": ["left", "right"], "answer": "right"}),
        ("counterfactual_inference",
         {**QUESTION, "video": "v2.webm", "candidates": ["left", "right"], "answer": "left"}),
    ],
    "NExTQA": [(None, {**QUESTION, "video": 123, "answer": 2, "qid": 0, "type": "CW",
                       "a0": "left", "a1": "right", "a2": "up", "a3": "down", "a4": "left"})],
    "Video-MME": [(None, {**QUESTION, "videoID": "abc", "answer": "B",
                          "options": ["A. To the left.", "B. Up. ", "C. No idea", "D. 3.5 m."]})],
    "EgoSchema": [(None, {**QUESTION, "video_idx": "idx", "answer": "4",
                          "option": ["A. C cooks.", "B. C cleans.", "none", "D. rest", "E. walks"]})],
    "ActivityNetQA": [(None, {"question": "is it red", "video_name": "xyz", "answer": "no"})],
}  # fmt: skip
"""Sub-task, where a task has them, and raw row."""


def _videos(root: Path, task: str, facts: Mapping[str, Any]) -> None:
    """Tasks with a folder of frames for each video: those that the expected rows refer to."""
    if "labels" in facts:
        pools = facts["pools"] or [None, None]
        given = [
            (None, {"video_id": f"vid_{number}", "pos_text": label, **({"neg_text": pool} if pool else {})})
            for number, (label, pool) in enumerate(zip(facts["labels"], pools, strict=True))
        ]
    else:
        given = VIDEO_ROWS[task]
    rows: dict[str | None, list[dict[str, Any]]] = {}
    for subset, row in given:
        rows.setdefault(subset, []).append(row)
    split = {"YouCook2": "val", "MVBench": "train"}.get(task, "test")
    subsets: Sequence[str | None] = [None]
    if task == "MVBench":
        from vlm2vec_cli import catalogue

        subsets = catalogue.tasks()[task]["subsets"]
    for subset in subsets:
        folder = f"annotations/{task}" + (f"/{subset}" if subset else "")
        empty = {**VIDEO_ROWS["MVBench"][0][1]}
        found = rows.get(subset)
        schema = None if found else pa.Table.from_pylist([empty]).schema
        parquet(root, f"{folder}/{split}-00000-of-00001.parquet", found or [], schema)
    listed = facts["candidates"] if isinstance(facts["candidates"], list) else []
    for row in (*facts["queries"], *listed):
        if "video" in row:
            for number in range(1, 6):
                put(root, f"{row['video']}frame_{number:04}.jpg")


def _moments(root: Path, task: str, facts: Mapping[str, Any]) -> None:
    rows = [
        {"query": "a man waves", "video_path": "videos/a-b_1.mp4"},
        {"query": "a car turns", "video_path": "flat.mp4"},
    ]
    parquet(root, f"annotations/{task}/test-00000-of-00001.parquet", rows)
    for row in facts["queries"]:
        put(root, f"{row['video']}frame_0001.jpg")
    for row in facts["candidates"]:
        if isinstance(row["video"], list):
            for frame in row["video"]:
                put(root, frame)
        else:
            put(root, f"{row['video']}frame_0001.jpg")


def _momentseeker(root: Path, task: str, facts: Mapping[str, Any]) -> None:
    def clips(*names: str) -> list[dict[str, str]]:
        return [{"output_path": f"clips/{name}.mp4"} for name in names]

    rows = [
        {"input_frames": "", "positive_frames": clips("f1/p0", "f1/p1"), "negative_frames": clips("f1/n0")},
        {"input_frames": "images/f3/x.jpg", "positive_frames": clips("f2/p0"),
         "negative_frames": clips("f1/n0")},
        {"input_frames": "films/f3.mp4", "positive_frames": clips("f2/p0"),
         "negative_frames": clips("f1/p0", "f1/n0")},
    ]  # fmt: skip
    full = [{"query": "the goal", **row} for row in rows]
    parquet(root, f"annotations/{task}/test-00000-of-00001.parquet", full)
    for row in (*facts["queries"], *facts["candidates"]):
        if "video" in row:
            put(root, f"{row['video']}frame_0001.jpg")
        if "image" in row:
            put(root, row["image"])


def _pages(root: Path, task: str, facts: Mapping[str, Any]) -> None:
    """A set with graded relevance, a score of 0, a repeated pair, a query without anything relevant."""
    split, folder, ids = facts["split"], root / facts["mirror"], facts["ids"]
    name = f"{split}-00000-of-00001.parquet"
    queries = [
        {"query-id": "1", "query": "What is the total?"},
        {"query-id": "q-2", "query": "Quelle année ?"},
        {"query-id": "lonely", "query": "Who asks?"},
    ]
    parquet(folder, f"queries/{name}", queries)
    pages = [encoded(form="JPEG"), encoded(), encoded(28, 224, mode="L")]
    schema = pa.schema([("corpus-id", pa.string()), ("image", IMAGE_STRUCT)])
    corpus = [
        {"corpus-id": one, "image": {"bytes": page, "path": None}}
        for one, page in zip(ids, pages, strict=True)
    ]
    parquet(folder, f"corpus/{name}", corpus, schema)
    judged = [("1", 0, 1), ("1", 0, 2), ("1", 1, 1), ("1", 2, 0), ("q-2", 2, 1), ("lonely", 0, 0)]
    qrels = [{"query-id": query, "corpus-id": ids[page], "score": score} for query, page, score in judged]
    parquet(folder, f"qrels/{name}", qrels)


def mmeb_eval(root: Path) -> None:
    """A task of texts and one of pictures of the first MMEB, pictures in `images.zip`."""
    texts = {
        "qry_text": "<|image_1|>\nIdentify the object shown in the image\n",
        "qry_img_path": "VOC2007/Test/1.jpg",
        "tgt_text": ["cat", "dog", ""],
        "tgt_img_path": ["", "", ""],
    }
    target = "<|image_1|>\nRepresent the given image.\n"
    pictures = {
        "qry_text": "Find me an everyday image that matches the given caption: a cat\n",
        "qry_img_path": "",
        "tgt_text": [target, target],
        "tgt_img_path": ["MSCOCO/Test/1.jpg", "MSCOCO/Test/2.jpg"],
    }
    for task, row in (("VOC2007", texts), ("MSCOCO_t2i", pictures)):
        parquet(root, f"{task}/test-00000-of-00001.parquet", [row])
    with zipfile.ZipFile(root / "images.zip", "w") as packed:
        for name in ("VOC2007/Test/1.jpg", "MSCOCO/Test/1.jpg", "MSCOCO/Test/2.jpg"):
            packed.writestr(f"images/{name}", encoded())
