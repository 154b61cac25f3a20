"""Every kind of row: frozen rows stay readable, versions are upgraded, the JSON Schema agrees with parse."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vlm2vec_cli.errors import DataError
from vlm2vec_cli.schemas import ITEM, KINDS, PAIR, RANKING, SCORE, VECTOR, document
from vlm2vec_cli.schemas.base import TAG, Field, Kind, kind_of
from vlm2vec_cli.schemas.field_types import TYPES
from vlm2vec_cli.streams import Session, write_file

TESTS = Path(__file__).parents[2]
SCHEMAS = TESTS.parent / "schemas"
GOLDEN = sorted((TESTS / "golden").glob("*@*.jsonl"))
BY_NAME = {kind.name: kind for kind in KINDS}


def test_every_version_of_every_kind_has_frozen_rows() -> None:
    expected = {f"{kind.name}@{version}.jsonl" for kind in KINDS for version in range(1, kind.version + 1)}
    assert {path.name for path in GOLDEN if path.name.split("@")[0] in BY_NAME} == expected


@pytest.mark.parametrize(
    "path", [p for p in GOLDEN if p.name.split("@")[0] in BY_NAME], ids=lambda path: path.name
)
def test_frozen_rows_are_read_and_written_to_the_byte(path: Path, tmp_path: Path) -> None:
    name, _, version = path.stem.partition("@")
    kind = BY_NAME[name]
    with Session([str(path)]) as session:
        write_file(str(tmp_path / "o.jsonl"), (record.row for record in session.read(kind)), kind)
    if int(version) == kind.version:
        assert (tmp_path / "o.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_schema_file_is_the_generated_one(kind: Kind) -> None:
    written = (SCHEMAS / f"{kind.name}.schema.json").read_text(encoding="utf-8")
    assert written == document(kind), "run: python -m vlm2vec_cli.schemas"


def test_there_are_no_other_schema_files() -> None:
    assert {path.name for path in SCHEMAS.glob("*.json")} == {f"{kind.name}.schema.json" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_frozen_rows_fit_the_json_schema(kind: Kind) -> None:
    schema = kind.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for line in (
        (TESTS / "golden" / f"{kind.name}@{kind.version}.jsonl").read_text(encoding="utf-8").splitlines()
    ):
        jsonschema.validate(json.loads(line), schema)


BAD: list[tuple[Kind, dict[str, Any], str]] = [
    (ITEM, {"video": "v", "num_frames": "many"}, "num_frames: expected an integer, got a string"),
    (ITEM, {"video": "v", "num_frames": -1}, "num_frames: expected an integer from 1 to 1000000, got -1"),
    (VECTOR, {"embedding": [1], "num_frames": 0}, "num_frames: expected an integer from 1 to 1000000, got 0"),
    (
        PAIR,
        {"query": {"video": "v", "num_frames": 2.5}, "positive": {"text": "b"}},
        "query: num_frames: expected an integer, got a number",
    ),
    (ITEM, {"num_frames": 4}, "expected text, image or video"),
    (ITEM, {"text": 1}, "text: expected a string, got a number"),
    (ITEM, {"text": "a", "id": 1.5}, "id: expected a string or an integer, got a number"),
    (ITEM, {"text": "a", "id": True}, "id: expected a string or an integer, got true or false"),
    (ITEM, {"text": "a", "role": "both"}, "role: expected 'query' or 'candidate', got 'both'"),
    (ITEM, {"image": {}}, "image: expected a media reference or a list of them, got an object"),
    (ITEM, {"image": [1]}, "image: entry 1: expected a media reference, got a number"),
    (ITEM, {"video": ""}, "video: expected a media reference, got an empty string"),
    (ITEM, {"text": "a", "pool": "c"}, "pool: expected a list of ids, got a string"),
    (ITEM, {"text": "a", "relevant": ["c"]}, "relevant: expected an object of gains, got a list"),
    (ITEM, {"text": "a", "relevant": {"c": -1}}, "relevant: c: expected a gain above 0, got -1"),
    (PAIR, {"query": {"text": "a"}}, "positive: missing; expected an object with text, image or video"),
    (
        PAIR,
        {"query": "a", "positive": {"text": ""}},
        "query: expected an object with text, image or video, got a string",
    ),
    (PAIR, {"query": {"text": "a"}, "positive": {}}, "positive: expected text, image or video"),
    (
        PAIR,
        {"query": {"text": "a"}, "positive": {"text": "b"}, "negatives": [{"text": "n"}, {"score": 1}]},
        "negatives: entry 2: expected text, image or video",
    ),
    (VECTOR, {"text": "a"}, "embedding: missing; expected a list of numbers"),
    (VECTOR, {"embedding": []}, "embedding: expected a list of numbers"),
    (VECTOR, {"embedding": ["1"]}, "embedding: expected a list of numbers"),
    (VECTOR, {"embedding": [1, [2]]}, "embedding: expected a list of numbers"),
    (
        VECTOR,
        {"embedding": [1], "precision": "int4"},
        "precision: expected 'float32' or 'float16' or 'int8' or 'binary', got 'int4'",
    ),
    (RANKING, {"query": "q"}, "candidates: missing; expected a list of ids"),
    (
        SCORE,
        {"dataset": "d", "main_metric": "m", "main_score": 62.5},
        "main_score: expected a number from 0 to 1, got 62.5",
    ),
    (
        SCORE,
        {"dataset": "d", "main_metric": "m", "main_score": 1, "num_queries": -1},
        "num_queries: expected an integer of at least 0, got -1",
    ),
    (
        SCORE,
        {"dataset": "d", "main_metric": "m", "main_score": 1, "metrics": {"hit@1": "x"}},
        "metrics: hit@1: expected a number, got a string",
    ),
    (
        SCORE,
        {"dataset": "d", "main_metric": "m", "main_score": 1, "ci95": {"m": [1]}},
        "ci95: m: expected [low, high]",
    ),
]


@pytest.mark.parametrize(("kind", "row", "fact"), BAD, ids=[fact for _, _, fact in BAD])
def test_what_parse_refuses_the_json_schema_refuses(kind: Kind, row: dict[str, Any], fact: str) -> None:
    if kind is not ITEM or {"text", "image", "video"} & row.keys():
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(row, kind.json_schema())
    with pytest.raises(DataError) as refused:
        kind.parse(copy.deepcopy(row), "1")
    assert refused.value.fact == fact
    assert refused.value.place == ""


def test_what_only_parse_can_see() -> None:
    for kind, row, fact in (
        (
            RANKING,
            {"query": "q", "candidates": ["a"], "scores": []},
            "scores: expected one a candidate (1), got 0",
        ),
        (VECTOR, {"embedding": [float("nan")]}, "embedding: expected finite numbers"),
        (VECTOR, {"embedding": [300], "precision": "int8"}, "embedding: expected int8 numbers"),
        (ITEM, {"instruction": "a"}, "expected text, image or video"),
    ):
        with pytest.raises(DataError) as refused:
            kind.parse(row, "1")
        assert refused.value.fact == fact


def test_nulls_and_empty_lists_of_media_are_absent() -> None:
    row = ITEM.parse({"text": "", "image": [], "video": None, "relevant": None}, "9")
    assert row == {"schema": ITEM.tag, "text": "", "id": "9", "dataset": "default", "role": "query"}


def test_a_list_of_one_reference_is_that_reference() -> None:
    assert ITEM.parse({"image": ["a.jpg"]}, "1")["image"] == "a.jpg"
    assert PAIR.parse({"query": {"video": ["v"]}, "positive": {"text": ""}}, "1")["query"] == {"video": "v"}


def test_defaults_are_not_shared_between_rows() -> None:
    first, second = (PAIR.parse({"query": {"text": "a"}, "positive": {"text": "b"}}, "1") for _ in "ab")
    first["negatives"].append({"text": "n"})
    assert second["negatives"] == []


def renamed(old: str, new: str) -> Any:
    return lambda row: {new if name == old else name: value for name, value in row.items()}


CHAIN = Kind(
    "item",
    "Three versions old.",
    (Field("caption", "string", "What stood in `words`, then in `title`.", required=True),),
    version=3,
    upgrades={1: renamed("words", "title"), 2: renamed("title", "caption")},
)


@pytest.mark.parametrize(("version", "name"), [(1, "words"), (2, "title"), (3, "caption")])
def test_older_versions_are_upgraded_through_the_chain(version: int, name: str) -> None:
    row = CHAIN.parse({"schema": f"vlm2vec/item@{version}", name: "a", "own": 1}, "1")
    assert row == {"schema": "vlm2vec/item@3", "caption": "a", "own": 1}


def test_a_row_without_tag_is_of_the_current_version() -> None:
    assert CHAIN.parse({"caption": "a"}, "1")["caption"] == "a"
    with pytest.raises(DataError, match="caption: missing"):
        CHAIN.parse({"words": "a"}, "1")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_chain_has_no_gap(kind: Kind) -> None:
    assert sorted(kind.upgrades) == list(range(1, kind.version))
    assert TAG.fullmatch(kind.tag)


def test_a_newer_version_is_refused_with_the_one_that_is_known() -> None:
    with pytest.raises(DataError, match=r"vlm2vec/item@4 is newer than vlm2vec/item@3") as refused:
        CHAIN.parse({"schema": "vlm2vec/item@4"}, "1")
    assert refused.value.hint == "install a newer vlm2vec-cli"


def test_the_tag_chooses_among_kinds_and_the_first_is_for_rows_without() -> None:
    assert kind_of({"schema": "vlm2vec/item@1"}, (VECTOR, ITEM)) is ITEM
    assert kind_of({}, (VECTOR, ITEM)) is VECTOR
    with pytest.raises(DataError, match="expected vlm2vec/vector@1 or vlm2vec/item@1, got vlm2vec/pair@1"):
        kind_of({"schema": "vlm2vec/pair@1"}, (VECTOR, ITEM))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_fields_have_a_type_and_a_text_and_one_name(kind: Kind) -> None:
    assert all(one.type in TYPES and one.doc.endswith(".") for one in kind.fields)
    assert len({one.name for one in kind.fields}) == len(kind.fields)
    assert set(kind.file_fields) <= {one.name for one in kind.fields}
