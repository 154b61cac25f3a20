import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from reports import query_rows, records, report_of, score_row, write_per_query
from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.reporting import examples
from vlm2vec_cli.reporting.collect import collect
from vlm2vec_cli.reporting.formats import html
from vlm2vec_cli.reporting.per_query import PerQuery, assign
from vlm2vec_cli.reporting.results import Column
from vlm2vec_cli.reporting.thumbnails import SIDE, Thumbnails


def columns(*rows: dict[str, object]) -> list[Column]:
    return collect(records(rows)).columns


def test_files_go_to_their_model_by_fingerprint_then_name_then_order(tmp_path: Path) -> None:
    owners = columns(
        score_row("d", 0.5, "one", fingerprint="f1"),
        score_row("d", 0.5, "two", fingerprint="f2"),
        score_row("d", 0.5, "three"),
    )
    rows = {
        "b": query_rows("d", [1, 0], "renamed", fingerprint="f2"),
        "a": query_rows("d", [1, 0], "one", fingerprint="f1"),
        "c": query_rows("d", [0, 1], None),
    }
    paths = [str(write_per_query(tmp_path / f"{name}.parquet", one)) for name, one in rows.items()]
    assert {position: Path(file.path).stem for position, file in assign(paths, owners).items()} == {
        0: "a",
        1: "b",
        2: "c",
    }


def test_files_of_two_sizes_of_a_model_go_by_their_scores(tmp_path: Path) -> None:
    both = columns(score_row("d", 0.25, "x", dim=64), score_row("d", 0.5, "x", dim=32))
    small = str(write_per_query(tmp_path / "s.parquet", query_rows("d", [1, 0, 1, 0], "x")))
    large = str(write_per_query(tmp_path / "l.parquet", query_rows("d", [1, 0, 0, 0], "x")))
    for order in ([small, large], [large, small]):
        assigned = assign(order, both)
        assert {at: file.path for at, file in assigned.items()} == {0: large, 1: small}


def test_a_file_of_another_model_or_another_run_is_refused(tmp_path: Path) -> None:
    path = str(write_per_query(tmp_path / "q.parquet", query_rows("d", [1, 0, 0, 0], "x")))
    with pytest.raises(DataError, match="belongs to model 'x', of which there are no further scores here"):
        assign([path], columns(score_row("d", 0.25, "y")))
    with pytest.raises(
        DataError, match=r"dataset 'd': the mean of hit@1 is 0.250000, the score of x 0.260000"
    ):
        assign([path], columns(score_row("d", 0.26, "x")))
    with pytest.raises(DataError, match="no further scores"):
        assign([path, path], columns(score_row("d", 0.25, "x")))


def test_a_file_without_the_datasets_or_metrics_of_its_model_is_refused(tmp_path: Path) -> None:
    path = str(write_per_query(tmp_path / "q.parquet", query_rows("other", [1, 0], "x")))
    with pytest.raises(DataError) as caught:
        assign([path], columns(score_row("d", 0.5, "x"), score_row("e", 0.5, "x")))
    assert str(caught.value) == f"{path}: has no score of x by query, such as hit@1 of 'd' and 1 more"
    with pytest.raises(DataError, match="has no score of x by query, such as mrr of 'other'"):
        assign([path], columns(score_row("other", 0.5, "x", main_metric="mrr")))


def test_a_score_that_is_no_mean_over_queries_is_checked_by_the_others(tmp_path: Path) -> None:
    rows = query_rows("d", [1, 0, 0, 0], "x")
    file = PerQuery(str(write_per_query(tmp_path / "q.parquet", rows)))
    main = {"main_metric": "sgg_recall@50", "metrics": {"sgg_recall@50": 0.4, "hit@1": 0.25}}
    graphs = score_row("d", 0.4, "x", **main)
    assert list(assign([file.path], columns(graphs))) == [0]
    assert [one.counts for one in examples.gather(report_of([graphs]), {0: file}, 1)] == [
        {"miss": 3, "hit": 1}
    ]
    graphs["metrics"]["hit@1"] = 0.5
    with pytest.raises(DataError, match=r"the mean of hit@1 is 0.250000, the score of x 0.500000"):
        assign([file.path], columns(graphs))


def test_files_that_are_no_per_query_files_are_refused(tmp_path: Path) -> None:
    text, other = tmp_path / "t.jsonl", tmp_path / "o.parquet"
    text.write_text("{}\n")
    pq.write_table(pa.table({"a": [1]}), other)
    for path, error, fact in (
        (text, DataError, "not a Parquet file"),
        (other, DataError, "expected vlm2vec/per-query@1, got None"),
        (tmp_path / "none", MissingError, "no such file"),
    ):
        with pytest.raises(error) as caught:
            PerQuery(str(path))
        assert str(caught.value) == f"{path}: {fact}"


def test_examples_are_spread_and_contents_come_from_any_row_group(tmp_path: Path) -> None:
    hits = [1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1]
    file = PerQuery(
        str(
            write_per_query(tmp_path / "q.parquet", query_rows("other", [1]) + query_rows("d", hits), group=3)
        )
    )
    report = report_of([score_row("d", 5 / 11)])
    (task,) = examples.gather(report, {0: file}, 2)
    assert task.counts == {"miss": 6, "hit": 5}
    assert [(one.kind, one.query, one.content["text"]) for one in task.examples] == [
        ("miss", "q1", "question 1"),
        ("miss", "q7", "question 7"),
        ("hit", "q0", "question 0"),
        ("hit", "q5", "question 5"),
    ]
    assert [one["id"] for one in task.examples[0].answers[0].candidates] == ["bad", "good"]
    assert examples.gather(report, {0: file}, 0) == []


def test_two_models_show_what_was_gained_and_lost(tmp_path: Path) -> None:
    before = PerQuery(str(write_per_query(tmp_path / "0.parquet", query_rows("d", [0, 1, 0, 1], "a"))))
    after = PerQuery(str(write_per_query(tmp_path / "1.parquet", query_rows("d", [1, 0, 0, 1], "b"))))
    report = report_of([score_row("d", 0.5, "a"), score_row("d", 0.5, "b")])
    (task,) = examples.gather(report, {0: before, 1: after}, 5)
    assert task.counts == {"gained": 1, "lost": 1, "both miss": 1, "both hit": 1}
    assert [(one.kind, one.query) for one in task.examples] == [
        ("gained", "q0"),
        ("lost", "q1"),
        ("both miss", "q2"),
        ("both hit", "q3"),
    ]
    assert [answer.column for answer in task.examples[0].answers] == [0, 1]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, size, colour in (
        ("wide", (400, 100), "red"),
        ("tall", (50, 300), "blue"),
        ("again", (400, 100), "red"),
    ):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
    frames = tmp_path / "clip"
    frames.mkdir()
    for at in range(5):
        Image.new("RGB", (64, 48), (40 * at, 0, 0)).save(frames / f"{at}.png")
    return tmp_path


def test_thumbnails_are_small_and_every_different_one_is_kept_once(pictures: Path) -> None:
    thumbnails = Thumbnails(MediaReader(), pictures)
    (wide,) = thumbnails.of({"image": ["wide.png"]})
    assert (wide.width, wide.height) == (SIDE, SIDE // 4)
    assert thumbnails.of({"image": "again.png"}) == [wide]
    (tall,) = thumbnails.of({"image": "tall.png", "video": None})
    assert (tall.width, tall.height) == (SIDE // 6, SIDE)
    assert len(thumbnails.of({"image": ["wide.png", "tall.png"]})) == 2
    assert len(thumbnails.of({"video": ["clip/"]})) == 3
    assert len(thumbnails.made) == 5
    assert wide.uri.startswith("data:image/jpeg;base64,")


def test_roots_come_from_the_rows_unless_one_is_given(
    pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = {"image": ["wide.png"], "media_root": str(pictures)}
    assert len(Thumbnails(MediaReader(), None).of(content)) == 1
    elsewhere = Thumbnails(MediaReader(), tmp_path_factory.mktemp("elsewhere"))
    assert elsewhere.of(content) == []
    assert elsewhere.missing(content) == ["wide.png"]
    assert list(elsewhere.failures) == ["wide.png"]


def test_the_gallery_shows_pictures_marks_and_what_cannot_be_opened(pictures: Path) -> None:
    good = {"id": "good", "image": ["wide.png"], "media_root": str(pictures)}
    gone = {"id": "gone", "image": ["gone.png"], "media_root": str(pictures)}
    rows = query_rows("d", [0], text="<image>\n<b>which?</b>", image=["tall.png"], media_root=str(pictures))
    rows[0] |= {
        "relevant": [{**good, "gain": 1.0}],
        "candidates": [{**gone, "score": 0.5}, {**good, "score": 0.4}],
    }
    file = PerQuery(str(write_per_query(pictures / "q.parquet", rows)))
    report = report_of([score_row("d", 0.0)])
    thumbnails = Thumbnails(MediaReader(), None)
    text = html.render(report, examples=examples.gather(report, {0: file}, 3), pictures=thumbnails)
    assert text.count("data:image/jpeg;base64,") == 2
    keys = re.findall(r'<use href="#(p[0-9a-f]{12})"', text)
    assert set(keys) == set(re.findall(r'<image id="(p[0-9a-f]{12})"', text)) == set(thumbnails.made)
    assert "cannot be shown: gone.png" in text
    assert "&lt;b&gt;which?&lt;/b&gt;" in text
    assert "&lt;image&gt;" not in text
    assert "first relevant at rank 2 of 2" in text
    assert re.findall(r'<li class="(candidate[^"]*)"', text) == ["candidate", "candidate relevant"]


def test_a_relevant_candidate_below_the_shown_ones_is_shown_apart(tmp_path: Path) -> None:
    rows = query_rows("d", [0])
    rows[0]["candidates"] = [{"id": f"c{at}", "text": f"text {at}", "score": 0.9} for at in range(10)]
    rows[0] |= {"rank": 12, "num_ranked": 40}
    file = PerQuery(str(write_per_query(tmp_path / "q.parquet", rows)))
    report = report_of([score_row("d", 0.0)])
    gallery = examples.gather(report, {0: file}, 1)
    text = html.render(report, examples=gallery, pictures=Thumbnails(MediaReader(), None))
    assert "text 4" in text
    assert "text 5" not in text
    assert text.index("first relevant at rank 12 of 40") < text.index("the right one")
