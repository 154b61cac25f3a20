"""Miniatures of every raw layout that `prepare` reads, as their publishers lay them out.

What the rows of MMEB-V2's miniatures have to become stands in `golden/mmeb_v2_rows.json`, written down from
the published description of the tasks; here is only how the raw files look.
"""

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "golden" / "mmeb_v2_rows.json"
IMAGE_STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TRAIN_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")

Rows = Sequence[Mapping[str, Any]]


@cache
def expected() -> dict[str, Any]:
    """Task to what its miniature holds and has to become."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


@cache
def encoded(width: int = 30, height: int = 28, mode: str = "RGB", form: str = "PNG", seed: int = 0) -> bytes:
    """A small picture of several greys, another one for each seed."""
    step, start = 3 + seed % 60, seed % 251
    greys = bytes((x * step + start) % 251 for x in range(width * height))
    image = Image.frombytes("L", (width, height), greys)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form)
    return buffer.getvalue()


def put(root: Path, name: str, content: bytes | None = None) -> Path:
    """A file, by default a picture, of its own for each name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed=zlib.crc32(name.encode())) if content is None else content)
    return path


def parquet(root: Path, name: str, rows: Rows, schema: pa.Schema | None = None) -> Path:
    """A Parquet file of these rows."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
    return path


def jsonl(root: Path, name: str, rows: Rows) -> Path:
    """A file of JSON lines."""
    return put(root, name, "".join(json.dumps(row) + "\n" for row in rows).encode())


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


def train_row(**given: Any) -> dict[str, Any]:
    """A row of MMEB-train; what is not given is empty."""
    return {**dict.fromkeys(TRAIN_COLUMNS, ""), **given}


def mmeb_train(root: Path) -> None:
    """Four subsets: shared pictures, a picture as a negative, a token without one, blanks in names."""
    question = "<|image_1|>\nRepresent the given image with the following question: "
    shared = "images/OK-VQA/Train/OK-VQA_image_17.jpg"
    crop = "images/MSCOCO/Train/a cat's \u00e9tui.jpg"
    subsets: dict[str, Rows] = {
        "OK-VQA": [
            train_row(qry=f"{question}What colour is the kettle?\n", qry_image_path=shared, pos_text="copper",
                      neg_text="two bicycles"),
            train_row(pos_text="nothing was asked"),
            train_row(qry=f"{question}Where?\n", qry_image_path=shared, pos_text="kitchen"),
        ],
        "VisDial": [
            train_row(
                qry="Represent the given dialogue about an image, which is used for image retrieval: "
                "Q:is it sunny\nA:no\n",
                pos_text="<|image_1|>\nRepresent the given image\n",
                pos_image_path="images/VisDial/Train/VisDial_image_5.jpg",
                neg_image_path="images/VisDial/Train/VisDial_image_99.jpg",
            )
        ],
        "WebQA": [
            train_row(
                qry="<|image_1|>\nFind a Wikipedia image that answers this question: "
                "Which tower leans more?\n",
                pos_text="<|image_1|>\nRepresent the given Wikipedia image with related text information: "
                "A leaning tower.\n",
                pos_image_path="images/WebQA/Train/30009999.jpg",
            )
        ],
        "MSCOCO": [
            train_row(
                qry="<|image_1|>\nSelect the portion of the image that isolates the object labeled as "
                '"cat"\n',
                qry_image_path=shared,
                pos_text="<|image_1|>\nRepresent the given cropped image of the object",
                pos_image_path=crop,
            )
        ],
    }  # fmt: skip
    for subset, rows in subsets.items():
        parquet(root, f"{subset}/original-00000-of-00001.parquet", rows)
        for row in rows:
            for path in (row[name] for name in TRAIN_COLUMNS if name.endswith("path")):
                if path:
                    put(root, path)
    diverse = train_row(qry="Use <|image_1|> to answer: Where?", qry_image_path=shared, pos_text="kitchen")
    parquet(root, "OK-VQA/diverse_instruction-00000-of-00001.parquet", [diverse])


def hard_negatives(root: Path) -> None:
    """A subset of B3 beside MMEB-train: lists of texts, and of pictures."""
    question = "<|image_1|>\nRepresent the given image with the following question: Where?\n"
    picture = "images/OK-VQA/Train/1.jpg"
    rows = [
        {"qry": question, "qry_image_path": picture, "pos_text": "kitchen", "pos_image_path": "",
         "neg_text": ["garden", "street"], "neg_image_path": ["", ""]},
    ]  # fmt: skip
    parquet(root, "B3-2b/OK-VQA/train-00000-of-00001.parquet", rows)
    target = "<|image_1|>\nRepresent the given image.\n"
    crops = [f"images/CIRR/Train/{number}.jpg" for number in range(4)]
    rows = [
        {"qry": "<|image_1|>\nGiven an image, find a similar everyday image with the described changes: "
         "wet\n",
         "qry_image_path": crops[0], "pos_text": target, "pos_image_path": crops[1],
         "neg_text": [target, ""], "neg_image_path": crops[2:]},
    ]  # fmt: skip
    parquet(root, "B3-2b/CIRR/train-00000-of-00001.parquet", rows)
    for path in (picture, *crops):
        put(root, f"MMEB-train/{path}")


def llava_hound(root: Path) -> None:
    """Folders of 3, 8 and 20 frames, and a video without one."""

    def line(name: str, asked: str, answer: str, number: str = "") -> dict[str, Any]:
        turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]
        return {"id": name + number, "video": name, "conversations": turns}

    folder = "video_instruction/train/sft"
    captions = [
        line("v_a-Scene-001", "<video>\nDescribe the clip.", "A dog runs."),
        line("v_gone", "<video>\nDescribe the clip.", "Nobody saw it."),
        line("v_b-Scene-002", "What is shown?\n<video>", "Two cats."),
    ]
    jsonl(root, f"{folder}/video_caption_300k.jsonl", captions)
    qa = [line("v_c-Scene-003", "<video>\nWho sings?", "A child.", "_0"),
          line("v_c-Scene-003", "<video>\nWhere?", "On a stage.", "_1")]  # fmt: skip
    jsonl(root, f"{folder}/video_240k_caption_15k.jsonl", qa)
    for name, count in (("v_a-Scene-001", 3), ("v_b-Scene-002", 8), ("v_c-Scene-003", 20)):
        for number in range(1, count + 1):
            put(root, f"train_300k/{name}/c01_{number:04}.jpeg", encoded(form="JPEG"))


def colpali(root: Path) -> None:
    """Two pages with questions, one JPEG, one tall grey PNG; an answer that looks like a list."""
    schema = pa.schema(
        [("image", IMAGE_STRUCT), ("query", pa.string()), ("answer", pa.string()), ("page", pa.string())]
    )
    pages = [encoded(form="JPEG"), encoded(28, 224, mode="L")]
    given = [("What is the total?", "['42']"), ("Which option?", "B")]
    rows = [{"image": {"bytes": page, "path": "x.jpg"}, "query": query, "answer": answer, "page": "1"}
            for page, (query, answer) in zip(pages, given, strict=True)]  # fmt: skip
    parquet(root, "data/train-00000-of-00001.parquet", rows, schema)


def visrag(root: Path) -> None:
    """Three sources, one of them unknown."""
    schema = pa.schema([("query", pa.string()), ("image", IMAGE_STRUCT), ("source", pa.string())])
    rows = [{"query": query, "image": {"bytes": encoded(), "path": None}, "source": source}
            for query, source in
            (("How many?", "PlotQA"), ("Why?", "Textbooks"), ("Who?", "else"))]  # fmt: skip
    parquet(root, "data/train-00000-of-00002.parquet", rows[:2], schema)
    parquet(root, "data/train-00001-of-00002.parquet", rows[2:], schema)


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


def scene_graph(root: Path) -> tuple[Path, Path]:
    """A training file and an evaluation file over one picture of 200 by 100 pixels."""
    put(root, "VG150/1234.jpg", encoded(200, 100))
    dog, bench = (
        {"class_name": "dog", "bbox": [0, 10, 100, 60]},
        {"class_name": "bench", "bbox": [50, 50, 200, 100]},
    )
    samples = [
        {"id": 0, "image_id": 1234, "image_path": "VG150/1234.jpg", "subject": dog, "object": bench,
         "predicate": "on"},
        {"id": 1, "image_id": 1234, "image_path": "VG150/1234.jpg", "subject": dog, "object": bench,
         "predicate": "near"},
        {"id": 2, "image_id": 1234, "img_path": "VG150/1234.jpg", "bbox1": bench["bbox"],
         "bbox2": dog["bbox"], "relation": "under"},
    ]  # fmt: skip
    objects = [{"id": 0, **dog}, {"id": 1, **bench}]
    relations = [
        {"subject_id": 0, "predicate": "on", "object_id": 1},
        {"subject_id": 0, "predicate": "lying on", "object_id": 1},
    ]
    graph = {"image_id": 1234, "image_path": "VG150/1234.jpg", "objects": objects, "relations": relations}
    train = put(root, "train.json", json.dumps(samples).encode())
    return train, put(root, "eval.json", (json.dumps(graph) + "\n").encode())


def pack(folder: Path, archive: Path, *, top: str = "") -> None:
    """Everything in `folder` as a zip or tar, names below `top`; the folder is removed."""
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    archive.parent.mkdir(parents=True, exist_ok=True)
    names = [top + one.relative_to(folder).as_posix() for one in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file, name in zip(files, names, strict=True):
                packed.write(file, name)
    else:
        with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as tar:
            for file, name in zip(files, names, strict=True):
                tar.add(file, name)
    for file in files:
        file.unlink()
    for one in sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True):
        one.rmdir()
    folder.rmdir()
