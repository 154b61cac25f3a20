import gzip
import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.readers import table


def read(mini: Any, name: str, *maps: str, **more: Any) -> list[dict[str, Any]]:
    entry = {"name": "default", "parser": "table", "paths": [str(mini.root / name)], "maps": maps, **more}
    rows: list[dict[str, Any]] = mini.read(entry, "item")
    for row in rows:
        assert row.pop("schema").startswith("vlm2vec/")
    return rows


def test_csv_columns_become_a_pair(mini: Any) -> None:
    mini.file(
        "qa.csv",
        'n,title,question,answer,wrong\n7,"A, B",who?,me,"[""you"", """"]"\n8,C,"two\nlines",him,you\n',
    )
    rows = read(
        mini,
        "qa.csv",
        "id=n",
        "query.text={title}: {question}",
        "positive.text=answer",
        "negatives.text=wrong",
        "dataset==mine",
    )
    assert rows == [
        {
            "id": "7",
            "dataset": "mine",
            "query": {"text": "A, B: who?"},
            "positive": {"text": "me"},
            "negatives": [{"text": "you"}],
        },
        {
            "id": "8",
            "dataset": "mine",
            "query": {"text": "C: two\nlines"},
            "positive": {"text": "him"},
            "negatives": [{"text": "you"}],
        },
    ]


def test_columns_without_a_map_keep_their_names(mini: Any) -> None:
    mini.file("t.tsv", 'id\ttext\trelevant\tpage\nq1\twho?\t["d1", "d2"]\t3\nq2\twhy?\td9\t\n')
    assert read(mini, "t.tsv", role="query") == [
        {
            "id": "q1",
            "text": "who?",
            "relevant": {"d1": 1.0, "d2": 1.0},
            "page": "3",
            "dataset": "default",
            "role": "query",
        },
        {"id": "q2", "text": "why?", "relevant": {"d9": 1.0}, "dataset": "default", "role": "query"},
    ]


def test_pictures_in_parquet_cells_become_references_and_are_not_read(mini: Any) -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [
            ("caption", pa.string()),
            ("img", picture),
            ("page", picture),
            ("meta", pa.struct([("n", pa.int64())])),
        ]
    )
    mini.file("pages/1.png")
    mini.parquet(
        "t.parquet",
        [
            {
                "caption": "a",
                "img": {"bytes": b"x", "path": None},
                "page": {"bytes": None, "path": "pages/1.png"},
                "meta": {"n": 4},
            },
            {
                "caption": "b",
                "img": {"bytes": b"y", "path": None},
                "page": {"bytes": None, "path": "else.png"},
                "meta": {"n": 5},
            },
        ],
        schema,
    )
    rows = read(
        mini, "t.parquet", "query.text=caption", "query.image=img", "positive.image=page", "key=meta.n"
    )
    assert rows[0] == {
        "dataset": "default",
        "query": {"text": "a", "image": "t.parquet!img[0]"},
        "positive": {"image": "pages/1.png"},
        "key": "4",
        "id": "1",
        "negatives": [],
    }
    assert rows[1]["query"]["image"] == "t.parquet!img[1]"
    assert rows[1]["positive"]["image"] == "else.png"


def test_paths_beside_the_table_become_references_from_the_media_root(mini: Any) -> None:
    mini.file("sub/a.jpg")
    mini.file("sub/t.csv", "image;text\na.jpg;x\nhttps://e.org/a.jpg;y\ndata:image/png,AA;z\n")
    rows = read(mini, "sub/t.csv")
    assert [row["image"] for row in rows] == ["sub/a.jpg", "https://e.org/a.jpg", "data:image/png,AA"]


def test_json_lines_packed_and_with_objects_inside(mini: Any) -> None:
    lines = [{"q": {"text": "who?", "lang": "en"}, "w": 0.5}, {"q": {"text": "why?"}, "w": None}]
    mini.file("t.jsonl.gz", gzip.compress("".join(json.dumps(one) + "\n" for one in lines).encode()))
    rows = read(mini, "t.jsonl.gz", "query.text=q.text", "positive.text==same", "weight=w")
    assert rows == [
        {
            "query": {"text": "who?"},
            "positive": {"text": "same"},
            "weight": 0.5,
            "dataset": "default",
            "id": "1",
            "negatives": [],
        },
        {
            "query": {"text": "why?"},
            "positive": {"text": "same"},
            "dataset": "default",
            "id": "2",
            "negatives": [],
        },
    ]


def test_bad_rows_have_their_line(mini: Any) -> None:
    path = mini.file("t.csv", "a,b\n1,2,3\n,x\n4,\n5\n\n")
    assert [row["text"] for row in read(mini, "t.csv", "text=a")] == ["4"]
    assert mini.rejected == [
        f"{path} line 2: 3 cells under 2 columns",
        f"{path} line 3: expected text, image or video",
        f"{path} line 5: 1 cell under 2 columns",
    ]


@pytest.mark.parametrize(
    ("content", "fact"),
    [('[{"a": "x"}]\n', "expected a JSON object"), ('[\n  {"a": "x"}\n]\n', "not JSON: unexpected end")],
)
def test_a_list_of_objects_gets_the_command_that_makes_lines_of_it(
    mini: Any, content: str, fact: str
) -> None:
    mini.file("t.json", content)
    errors: list[UserError] = []
    entry = {"name": "d", "parser": "table", "paths": (str(mini.root / "t.json"),), "maps": ("text=a",)}
    list(table.read(entry, replace(mini.raw(), reject=errors.append), "item"))
    assert errors[0].fact.startswith(fact)
    assert errors[0].hint == "one object a line: jq -c '.[]' FILE"


def test_a_gap_in_a_template_is_a_bad_row(mini: Any) -> None:
    path = mini.file("t.jsonl", '{"title": null, "body": "x"}\n')
    assert read(mini, "t.jsonl", "text={title}: {body}") == []
    assert mini.rejected == [f"{path} line 1: no value for {{title}}"]


@pytest.mark.parametrize(
    ("given", "fact"),
    [
        ("text", "--map: expected FIELD=COLUMN, got 'text'"),
        ("query=a", "--map: query is no content field"),
        ("query.txt=a", "--map: query.txt is no content field"),
        ("text.more=a", "--map: no field 'text.more'"),
        ("text=question_", "--map: no column 'question_' in {path}"),
    ],
)
def test_maps_that_make_no_sense_are_refused(mini: Any, given: str, fact: str) -> None:
    path = mini.file("t.csv", "question,b\n1,2\n")
    with pytest.raises(UsageError) as raised:
        read(mini, "t.csv", given)
    assert str(raised.value) == fact.replace("{path}", str(path))
    if "question_" in given:
        assert raised.value.hint == "did you mean 'question'?"


def test_a_column_that_no_line_has_is_refused_at_the_end(mini: Any) -> None:
    path = mini.file("t.jsonl", '{"title": "a"}\n{"title": "b", "late": "c"}\n')
    assert [row["text"] for row in read(mini, "t.jsonl", "text=late", "role==query") if "text" in row] == [
        "c"
    ]
    with pytest.raises(UsageError) as raised:
        read(mini, "t.jsonl", "text=title", "instruction=titel")
    assert str(raised.value) == f"--map: no column 'titel' in {path}"
    assert raised.value.hint == "did you mean 'title'?"


def test_a_header_with_a_name_twice_is_refused(mini: Any) -> None:
    mini.file("t.csv", "a,a\n1,2\n")
    with pytest.raises(DataError, match="distinct column names"):
        read(mini, "t.csv")
