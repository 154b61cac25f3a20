"""The picture tasks of MMEB-V2 by hand-written rows. One file, as each reader has one test."""

import tarfile
import zipfile
from typing import Any

import pytest

from vlm2vec_cli import catalogue
from vlm2vec_cli.readers import mmeb_image

TASKS = catalogue.tasks()
IMAGE_TASKS = [name for name, entry in TASKS.items() if entry["modality"] == "image"]


def raw_row(**given: Any) -> dict[str, Any]:
    empty = {
        "qry_inst": "",
        "qry_text": "",
        "qry_img_path": "",
        "tgt_inst": "",
        "tgt_text": [],
        "tgt_img_path": [],
    }
    return {**empty, **given}


def annotate(mini: Any, task: str, *rows: dict[str, Any]) -> None:
    mini.parquet(f"annotations/{task}/test-00000-of-00001.parquet", rows)
    for row in rows:
        for path in (row["qry_img_path"], *row["tgt_img_path"]):
            if path:
                mini.file(f"image-tasks/{path}")


def test_a_classification_row_gives_a_query_with_its_pool_and_each_label_once(mini: Any) -> None:
    instruction = "<|image_1|>\nRepresent the given image for classification"
    annotate(
        mini,
        "ImageNet-1K",
        raw_row(qry_inst=instruction, qry_img_path="I/a.jpg", tgt_text=["cat", "dog"], tgt_img_path=["", ""]),
        raw_row(qry_inst=instruction, qry_img_path="I/b.jpg", tgt_text=["dog", "cat"], tgt_img_path=["", ""]),
    )
    queries = mini.read(TASKS["ImageNet-1K"], "query")
    assert queries[1] == {
        "id": "2",
        "dataset": "ImageNet-1K",
        "role": "query",
        "text": "<image>\nRepresent the given image for classification\n",
        "image": "image-tasks/I/b.jpg",
        "relevant": {"dog": 1.0},
        "pool": ["dog", "cat"],
        "modality": "image",
        "task_type": "image classification",
        "group": "I-CLS",
        "main_metric": "hit@1",
    }
    assert mini.read(TASKS["ImageNet-1K"], "candidate") == [
        {"id": "cat", "dataset": "ImageNet-1K", "role": "candidate", "text": "cat"},
        {"id": "dog", "dataset": "ImageNet-1K", "role": "candidate", "text": "dog"},
    ]
    assert mini.rejected == []


def test_blank_answers_are_candidates_and_stay_in_the_pool_as_often_as_they_stand_there(mini: Any) -> None:
    instruction = "<|image_1|>\nRepresent the given image with the following question:"
    texts = ["copper", "", "tin", "", "copper"]
    annotate(
        mini,
        "OK-VQA",
        raw_row(
            qry_inst=f"{instruction} \n ",
            qry_text="What metal is it?",
            qry_img_path="O/a.jpg",
            tgt_text=texts,
            tgt_img_path=[""] * 5,
        ),
    )
    (query,) = mini.read(TASKS["OK-VQA"], "query")
    assert query["text"] == (
        "<image>\nRepresent the given image with the following question: What metal is it?\n"
    )
    assert query["pool"] == ["copper", "<blank>", "tin", "<blank>", "copper"]
    assert [(row["id"], row["text"]) for row in mini.read(TASKS["OK-VQA"], "candidate")] == [
        ("copper", "copper"),
        ("<blank>", ""),
        ("tin", "tin"),
    ]


def test_text_to_image_keeps_the_token_of_a_query_without_a_picture(mini: Any) -> None:
    annotate(
        mini,
        "WebQA",
        raw_row(
            qry_inst="<|image_1|>\nFind a Wikipedia image that answers this question:",
            qry_text="Which tower leans?",
            tgt_inst="<|image_1|>\nRepresent the given Wikipedia image with related text information:",
            tgt_text=["A tower.", "", "A hill."],
            tgt_img_path=["W/1.jpg", "W/2.jpg", "W/1.jpg"],
        ),
    )
    (query,) = mini.read(TASKS["WebQA"], "query")
    assert "image" not in query
    assert query["text"] == "<image>\nFind a Wikipedia image that answers this question: Which tower leans?\n"
    assert query["pool"] == ["W/1.jpg", "W/2.jpg", "W/1.jpg"]
    assert mini.read(TASKS["WebQA"], "candidate") == [
        {
            "id": "W/1.jpg",
            "dataset": "WebQA",
            "role": "candidate",
            "text": "<image>\nRepresent the given Wikipedia image with related text information: A tower.\n",
            "image": "image-tasks/W/1.jpg",
        },
        {
            "id": "W/2.jpg",
            "dataset": "WebQA",
            "role": "candidate",
            "text": "<image>\nRepresent the given Wikipedia image with related text information:\n",
            "image": "image-tasks/W/2.jpg",
        },
    ]


def test_visdial_queries_end_in_two_newlines_and_uncaptioned_pictures_in_one(mini: Any) -> None:
    dialogue = "Represent the given dialogue about an image, which is used for image retrieval:"
    annotate(
        mini,
        "VisDial",
        raw_row(
            qry_inst=dialogue,
            qry_text="Q:is it sunny\nA:no",
            tgt_inst="<|image_1|>\nRepresent the given image",
            tgt_text=["", ""],
            tgt_img_path=["V/1.jpg", "V/2.jpg"],
        ),
    )
    assert [row["text"] for row in mini.read(TASKS["VisDial"], "query")] == [
        f"{dialogue} Q:is it sunny\nA:no\n\n"
    ]
    texts = [row["text"] for row in mini.read(TASKS["VisDial"], "candidate")]
    assert texts == ["<image>\nRepresent the given image\n"] * 2


def test_grounding_names_candidates_by_picture_and_caption(mini: Any) -> None:
    select = "<|image_1|>\nSelect the portion of the image that follows the language expressions:"
    annotate(
        mini,
        "RefCOCO-Matching",
        raw_row(
            qry_inst=select,
            qry_text='"the left cat"',
            qry_img_path="R/q.jpg",
            tgt_inst=select,
            tgt_text=['"the left cat"', '"a dog"'],
            tgt_img_path=["R/q.jpg", "R/q.jpg"],
        ),
    )
    (query,) = mini.read(TASKS["RefCOCO-Matching"], "query")
    prompt = "<image>\nSelect the portion of the image that follows the language expressions:"
    assert query["text"] == f'{prompt} "the left cat"\n'
    assert query["relevant"] == {"R/q.jpg:the left cat": 1.0}
    assert [(row["id"], row["text"]) for row in mini.read(TASKS["RefCOCO-Matching"], "candidate")] == [
        ("R/q.jpg:the left cat", f'{prompt} "the left cat"\n'),
        ("R/q.jpg:a dog", f'{prompt} "a dog"\n'),
    ]


def test_uncaptioned_image_to_image_candidates_get_no_newline(mini: Any) -> None:
    annotate(
        mini,
        "CIRR",
        raw_row(
            qry_inst="<|image_1|>\nGiven an image, find a similar everyday image with the described changes:",
            qry_text="two cats",
            qry_img_path="C/q.jpg",
            tgt_inst="<|image_1|>\nRepresent the given image.",
            tgt_text=["", ""],
            tgt_img_path=["C/1.jpg", "C/2.jpg"],
        ),
    )
    rows = mini.read(TASKS["CIRR"], "candidate")
    assert [(row["id"], row["text"]) for row in rows] == [
        ("C/1.jpg:", "<image>\nRepresent the given image."),
        ("C/2.jpg:", "<image>\nRepresent the given image."),
    ]


@pytest.mark.parametrize("name", IMAGE_TASKS)
def test_every_task_builds_its_catalogued_texts(name: str) -> None:
    """A row in the published form, token before the instruction, gives the catalogue's text."""
    entry = TASKS[name]
    instruction, text = entry["instruction"], "TEXT"
    token = "" if entry["query_template"][:7] != "<image>" else "<|image_1|>\n"
    holds_text = "{qry_text}" in entry["query_template"]
    asked = mmeb_image.query_text(entry, token + instruction["query"], text if holds_text else "")
    assert asked == entry["query_template"].replace("{qry_text}", text)
    if entry["parser"] not in mmeb_image.TEXT_CANDIDATES:
        caption = text if "{tgt_text}" in entry["candidate_template"] else None
        shown = mmeb_image.candidate_text(entry, f"<|image_1|>\n{instruction['target']}", caption)
        assert shown == entry["candidate_template"].replace("{tgt_text}", text)


def test_without_instructions_the_texts_alone_are_left(mini: Any) -> None:
    row = raw_row(
        qry_inst="<|image_1|>\nGiven an image, find",
        qry_text="two cats",
        qry_img_path="C/q.jpg",
        tgt_inst="<|image_1|>\nRepresent the given image.",
        tgt_text=[""],
        tgt_img_path=["C/1.jpg"],
    )
    annotate(mini, "CIRR", row)
    assert mini.read(TASKS["CIRR"], "query", instructions=False)[0]["text"] == "<image> two cats\n"
    assert mini.read(TASKS["CIRR"], "candidate", instructions=False)[0]["text"] == "<image>"


def write_archive(path: Any, members: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for member in members:
                packed.writestr(member, b"x")
    else:
        with tarfile.open(path, "w") as tar:
            for member in members:
                tar.addfile(tarfile.TarInfo(member))


@pytest.mark.parametrize(
    ("archive", "prefix", "reference"),
    [
        (None, "image-tasks/", "image-tasks/A/a.jpg"),
        (None, "image-tasks/MMEB/", "image-tasks/MMEB/A/a.jpg"),
        ("image-tasks/mmeb_v1.zip", "", "image-tasks/mmeb_v1.zip!A/a.jpg"),
        ("image-tasks/mmeb_v1.tar", "MMEB/", "image-tasks/mmeb_v1.tar!MMEB/A/a.jpg"),
        ("image-tasks.tar", "image-tasks/", "image-tasks.tar!image-tasks/A/a.jpg"),
    ],
)
def test_pictures_are_found_unpacked_or_in_an_archive(
    mini: Any, archive: str | None, prefix: str, reference: str
) -> None:
    row = raw_row(
        qry_inst="<|image_1|>\nName it", qry_img_path="A/a.jpg", tgt_text=["cat"], tgt_img_path=[""]
    )
    mini.parquet("MMEB_Test_Instruct/VOC2007/test-00000-of-00001.parquet", [row])
    if archive is None:
        mini.file(f"{prefix}A/a.jpg")
    else:
        write_archive(mini.root / archive, [f"{prefix}A/a.jpg"])
    assert mini.read(TASKS["VOC2007"], "query")[0]["image"] == reference


def test_a_missing_picture_names_the_places_and_the_rows_around_it_stay(mini: Any) -> None:
    good = raw_row(qry_inst="x", qry_img_path="A/a.jpg", tgt_text=["cat"], tgt_img_path=[""])
    path = mini.parquet(
        "VOC2007/test-00000-of-00001.parquet",
        [good, {**good, "qry_img_path": "A/gone.jpg"}, {**good, "qry_img_path": "../a.jpg"}, good],
    )
    mini.file("image-tasks/A/a.jpg")
    assert [row["id"] for row in mini.read(TASKS["VOC2007"], "query")] == ["1", "4"]
    top = mini.root / "image-tasks"
    assert mini.rejected == [
        f"{path} row 2: image A/gone.jpg: not in {top}, {top / 'MMEB'}",
        f"{path} row 3: not a path inside the data: '../a.jpg'",
    ]


def test_a_bad_row_is_rejected_on_both_sides_with_its_place(mini: Any) -> None:
    path = mini.parquet(
        "annotations/CIRR/test-00000-of-00001.parquet",
        [raw_row(qry_img_path="q.jpg", tgt_text=["a", "b"], tgt_img_path=["1.jpg"])],
    )
    for side in ("query", "candidate"):
        assert mini.read(TASKS["CIRR"], side) == []
    assert mini.rejected == [f"{path} row 1: tgt_text has 2 entries, tgt_img_path has 1"] * 2
