import zipfile
from typing import Any

import pytest

from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import DataError, MissingError

SUBSETS = catalogue.train_sources()
EMPTY = dict.fromkeys(
    ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path"), ""
)


def annotate(mini: Any, subset: str, *rows: dict[str, Any], split: str = "original") -> Any:
    full = [{**EMPTY, **row} for row in rows]
    for row in full:
        for name in ("qry_image_path", "pos_image_path", "neg_image_path"):
            for path in [row[name]] if isinstance(row[name], str) else row[name] or []:
                if path:
                    mini.file(path)
    return mini.parquet(f"{subset}/{split}-00000-of-00001.parquet", full)


def test_a_question_with_a_text_negative(mini: Any) -> None:
    annotate(
        mini,
        "OK-VQA",
        {
            "qry": "<|image_1|>\nRepresent the given image with the following question: Which colour?\n",
            "qry_image_path": "images/OK-VQA/Train/OK-VQA_image_17.jpg",
            "pos_text": "copper",
            "neg_text": "two bicycles",
        },
    )
    assert mini.read(SUBSETS["OK-VQA"], "pair") == [
        {
            "id": "1",
            "dataset": "OK-VQA",
            "query": {
                "text": "<image>\nRepresent the given image with the following question: Which colour?\n",
                "image": "images/OK-VQA/Train/OK-VQA_image_17.jpg",
            },
            "positive": {"text": "copper"},
            "negatives": [{"text": "two bicycles"}],
        }
    ]


def test_a_negative_picture_without_text_takes_the_positives_text(mini: Any) -> None:
    annotate(
        mini,
        "VisDial",
        {
            "qry": "Represent the given dialogue about an image: Q:is it sunny\nA:no\n",
            "pos_text": "<|image_1|>\nRepresent the given image\n",
            "pos_image_path": "images/VisDial/Train/VisDial_image_5.jpg",
            "neg_image_path": "images/VisDial/Train/VisDial_image_99.jpg",
        },
    )
    (pair,) = mini.read(SUBSETS["VisDial"], "pair")
    assert pair["negatives"] == [
        {
            "text": "<image>\nRepresent the given image\n",
            "image": "images/VisDial/Train/VisDial_image_99.jpg",
        }
    ]


def test_webqa_keeps_a_token_without_a_picture_and_diverse_texts_one_in_the_middle(mini: Any) -> None:
    annotate(
        mini,
        "WebQA",
        {"qry": "Ask <|image_1|> this: Which leans?", "pos_text": "A tower."},
        split="diverse_instruction",
    )
    (pair,) = mini.read(SUBSETS["WebQA"], "pair", split="diverse_instruction")
    assert pair["query"] == {"text": "Ask <image> this: Which leans?"}
    assert pair["negatives"] == []


def test_rows_with_an_empty_side_are_left_out_and_counted(mini: Any) -> None:
    annotate(
        mini,
        "CIRR",
        {"qry": "", "pos_text": "a"},
        {"qry": "b", "pos_text": "c"},
        {"qry": "d", "pos_text": ""},
    )
    assert [pair["id"] for pair in mini.read(SUBSETS["CIRR"], "pair")] == ["2"]
    assert dict(mini.left_out) == {"CIRR: no text and no picture on one side": 2}
    assert mini.rejected == []


def test_pictures_stay_in_the_zip_whatever_their_names(mini: Any) -> None:
    name = "images/MSCOCO/Train/000000000009_object_hot dog's #1!.jpg"
    mini.parquet(
        "MSCOCO/original-00000-of-00001.parquet",
        [{**EMPTY, "qry": "<|image_1|>\nSelect it\n", "qry_image_path": name, "pos_text": "x"}],
    )
    archive = mini.root / "images_zip" / "MSCOCO.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(name, b"x")
    (pair,) = mini.read(SUBSETS["MSCOCO"], "pair")
    assert pair["query"]["image"] == f"images_zip/MSCOCO.zip!{name}"


def test_older_exports_are_read_where_the_split_is_not_there(mini: Any) -> None:
    mini.parquet(
        "NIGHTS/train-00000-of-00001.parquet",
        [{"qry": "a", "qry_image_path": None, "pos_text": "b", "pos_image_path": None}],
    )
    (pair,) = mini.read(SUBSETS["NIGHTS"], "pair")
    assert pair == {
        "id": "1",
        "dataset": "NIGHTS",
        "query": {"text": "a"},
        "positive": {"text": "b"},
        "negatives": [],
    }
    with pytest.raises(MissingError, match=r"no split diverse_instruction in .*NIGHTS") as raised:
        mini.read(SUBSETS["NIGHTS"], "pair", split="diverse_instruction")
    assert raised.value.hint == "splits there: train"


def test_lists_of_mined_negatives(mini: Any) -> None:
    mini.parquet(
        "CIRR/original-00000-of-00001.parquet",
        [
            {
                "qry": "q",
                "qry_image_path": "",
                "pos_text": "<|image_1|> p",
                "pos_image_path": "images/CIRR/Train/p.jpg",
                "neg_text": ["", "<|image_1|> n"],
                "neg_image_path": ["images/CIRR/Train/1.jpg", "images/CIRR/Train/2.jpg"],
            }
        ],
    )
    for name in ("p", "1", "2"):
        mini.file(f"images/CIRR/Train/{name}.jpg")
    (pair,) = mini.read(SUBSETS["CIRR"], "pair")
    assert pair["negatives"] == [
        {"text": "<image> p", "image": "images/CIRR/Train/1.jpg"},
        {"text": "<image> n", "image": "images/CIRR/Train/2.jpg"},
    ]


def test_missing_pictures_and_columns_are_said(mini: Any) -> None:
    path = mini.parquet(
        "SUN397/original-00000-of-00001.parquet",
        [{**EMPTY, "qry": "x", "qry_image_path": "images/SUN397/Train/1.jpg", "pos_text": "y"}],
    )
    assert mini.read(SUBSETS["SUN397"], "pair") == []
    expected = f"{path} row 1: image images/SUN397/Train/1.jpg: not in {mini.root}, {mini.root / 'image'}"
    assert mini.rejected == [expected]
    mini.parquet("VOC2007/original-00000-of-00001.parquet", [{"query": "x"}])
    with pytest.raises(DataError, match="no column 'qry'"):
        mini.read(SUBSETS["VOC2007"], "pair")


def test_what_is_there_is_found_by_name(mini: Any) -> None:
    from vlm2vec_cli.readers import Found, Missing, mmeb_train

    rows = Missing("CIRR/original-*.parquet", "TIGER-Lab/MMEB-train")
    pictures = Missing("images_zip/CIRR.zip", "TIGER-Lab/MMEB-train")
    assert mmeb_train.found(SUBSETS["CIRR"], mini.raw()) == Found(False, False, (rows, pictures))
    row = {**EMPTY, "pos_image_path": "images/Shared/Train/a.jpg"}
    mini.parquet("CIRR/original-00000-of-00001.parquet", [EMPTY, row])
    pictures = Missing("images_zip/Shared.zip", "TIGER-Lab/MMEB-train")
    assert mmeb_train.found(SUBSETS["CIRR"], mini.raw()) == Found(True, False, (pictures,))
    mini.file("images_zip/Shared.zip")
    assert mmeb_train.found(SUBSETS["CIRR"], mini.raw()) == Found(annotations=True, media=True)


def test_clips_and_pages_of_pdfs(mini: Any) -> None:
    row = {
        **EMPTY,
        "qry": "Find the clip: cat\n",
        "pos_text": "<video> Describe this clip.",
        "pos_video_path": "videos/cat.mp4",
    }
    page = {
        **EMPTY,
        "qry": "Find it",
        "pos_text": "<|image_1|> Page.",
        "pos_image_path": "pages/a.pdf#page=7",
    }
    mini.parquet("mine/original-00000-of-00001.parquet", [row, {**page, "pos_video_path": ""}])
    for name in ("videos/cat.mp4", "pages/a.pdf"):
        mini.file(name)
    entry = {"name": "mine", "parser": "mmeb_train", "hf": {"split": "original"}}
    clip, paged = mini.read(entry, "pair", num_frames=4)
    assert clip["positive"] == {
        "text": "<video> Describe this clip.",
        "video": "videos/cat.mp4",
        "num_frames": 4,
    }
    assert paged["positive"] == {"text": "<image> Page.", "image": "pages/a.pdf#page=7"}
    assert mini.rejected == []
