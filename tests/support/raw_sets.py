"""Miniatures of the training sets, as their publishers lay them out."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from raw_data import IMAGE_STRUCT, Rows, encoded, jsonl, parquet, put

TRAIN_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")


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
