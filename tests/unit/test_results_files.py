"""Scores of other tools, there and back."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from vlm2vec_cli.errors import DataError, MissingError
from vlm2vec_cli.scoring import Request, results_files, score
from vlm2vec_cli.streams import Session

GOLDEN = Path(__file__).parent.parent / "golden" / "shared_mini" / "shared_mini_score.json"


def test_a_folder_of_the_reference_is_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "our-model" / "image"
    folder.mkdir(parents=True)
    shutil.copy(GOLDEN, folder / "MSCOCO_i2t_score.json")
    (folder / "MSCOCO_i2t_info.jsonl").write_text("not JSON")
    (folder / "settings.json").write_text("{}")
    (row,) = results_files.rows([str(tmp_path / "our-model")])
    expected = json.loads(GOLDEN.read_text())
    assert row["model"] == "our-model"
    assert (row["dataset"], row["modality"], row["group"]) == ("MSCOCO_i2t", "image", "I-RET")
    assert row["num_queries"] == expected.pop("num_pred") == expected.pop("num_data")
    assert row["metrics"] == expected
    assert (row["main_metric"], row["main_score"]) == ("hit@1", expected["hit@1"])


def test_a_report_of_the_reference_names_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "report.json"
    tasks = {"image": {"GQA": {"hit@1": 0.25}, "OK-VQA": "FILE_N/A"}, "visdoc": {"VisRAG_ArxivQA": "DIR_N/A"}}
    path.write_text(json.dumps({"metadata": {"model_name": "org/m"}, "metrics": tasks}))
    with caplog.at_level(logging.WARNING):
        (row,) = results_files.rows([str(path)])
    assert (row["dataset"], row["model"], row["main_score"]) == ("GQA", "org/m", 0.25)
    assert "no score of 2 tasks: 'OK-VQA', 'VisRAG_ArxivQA'" in caplog.text


def test_results_of_mteb_are_the_mean_of_their_parts(tmp_path: Path) -> None:
    entry = {"hf_subset": "en", "languages": ["eng-Latn"], "note": "x"}
    scores = [
        {**entry, "main_score": 0.5, "ndcg_at_5": 0.5, "map_at_5": 0.25, "hit_rate_at_1": 0.125},
        {**entry, "main_score": 0.75, "ndcg_at_5": 0.75, "map_at_5": 0.5, "hit_rate_at_1": 0.25, "extra": 3},
    ]
    folder = tmp_path / "results" / "org__m" / "abc"
    folder.mkdir(parents=True)
    task = {"task_name": "VidoreDocVQA", "mteb_version": "2.1.0", "scores": {"test": scores}}
    (folder / "VidoreDocVQA.json").write_text(json.dumps(task))
    (row,) = results_files.rows([str(tmp_path)])
    assert (row["model"], row["revision"]) == ("org/m", "abc")
    assert row["metrics"] == {"ndcg_linear@5": 0.625, "ap@5": 0.375, "hit@1": 0.1875}
    assert (row["main_metric"], row["main_score"]) == ("ndcg_linear@5", 0.625)
    (folder / "model_meta.json").write_text(json.dumps({"name": "other/name", "revision": "r"}))
    (row,) = results_files.rows([str(tmp_path)])
    assert (row["model"], row["revision"]) == ("other/name", "r")


def test_to_mteb_and_back(tmp_path: Path) -> None:
    values = {
        "hit@1": 0.5,
        "ndcg_linear@5": 0.6,
        "ndcg_exponential@5": 0.7,
        "map@5": 0.4,
        "ap@5": 0.3,
        "mrr": 0.2,
    }
    row: dict[str, Any] = {"dataset": "GQA", "model": "org/m", "fingerprint": "f", "data_digest": "d"}
    row |= {"main_metric": "hit@1", "main_score": 0.5, "metrics": values}
    files = dict(results_files.mteb_files([row, {**row, "dataset": "a/b"}]))
    assert list(files) == ["org__m/f/model_meta.json", "org__m/f/GQA.json", "org__m/f/a__b.json"]
    entry = files["org__m/f/GQA.json"]["scores"]["test"][0]
    assert entry["main_score"] == entry["hit_rate_at_1"] == 0.5
    assert (entry["ndcg_at_5"], entry["map_at_5"]) == (0.6, 0.3)
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    back = {one["dataset"]: one for one in results_files.rows([str(tmp_path)])}
    assert back["GQA"]["metrics"] == values
    assert {name: back["GQA"][name] for name in ("model", "main_metric", "main_score")} == {
        name: row[name] for name in ("model", "main_metric", "main_score")
    }
    with pytest.raises(DataError, match="'GQA' of 'org/m' has several scores, mteb holds one"):
        dict(results_files.mteb_files([row, row]))


@pytest.mark.parametrize(
    ("name", "content", "fact"),
    [
        ("GQA_score.json", {"hit@5": 0.5}, "dataset 'GQA' has no hit@1"),
        ("GQA_score.json", {"hit@1": 50.0}, "dataset 'GQA' has no hit@1"),
        ("a.json", {"task_name": "T", "scores": {"test": [{}]}}, "dataset 'T' has no main_score"),
        (
            "a.json",
            {"task_name": "T", "scores": {"test": [1]}},
            "scores.test: expected an object, got a number",
        ),
        (
            "a.json",
            {"task_name": "T", "scores": {"test": "x"}},
            "scores.test: expected an object, got a string",
        ),
        (
            "a.json",
            {"metadata": {}, "metrics": {"image": "FILE_N/A"}},
            "metrics.image: expected an object, got a string",
        ),
        ("a.json", {"metadata": [], "metrics": {}}, "metadata: expected an object, got a list"),
        ("a.json", [1], "neither scores of the MMEB evaluation nor of mteb"),
    ],
)
def test_what_is_no_scores(tmp_path: Path, name: str, content: Any, fact: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as raised:
        list(results_files.rows([str(path)]))
    assert str(raised.value) == f"{path}: {fact}"


def test_a_broken_model_meta_is_named(tmp_path: Path) -> None:
    task = {"task_name": "T", "scores": {"test": [{"main_score": 0.5}]}}
    (tmp_path / "T.json").write_text(json.dumps(task))
    (tmp_path / "model_meta.json").write_text("{")
    with pytest.raises(DataError) as raised:
        list(results_files.rows([str(tmp_path / "T.json")]))
    assert str(raised.value).startswith(f"{tmp_path / 'model_meta.json'}: not JSON: ")


def test_the_rankings_of_all_tasks_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "image"
    folder.mkdir(parents=True)
    for task in ("N24News", "GQA"):
        shutil.copy(GOLDEN.parent / "shared_mini_pred.jsonl", folder / f"{task}_pred.jsonl")
    scored = score(Session(quiet=True), Request(run=str(tmp_path), bootstrap=0), has_inputs=False)
    expected = json.loads(GOLDEN.read_text())
    found = {row["dataset"]: row for row in scored}
    assert set(found) == {"N24News", "GQA"}
    for row in found.values():
        assert row["metrics"]["ndcg_linear@5"] == pytest.approx(expected["ndcg_linear@5"])
        assert row["modality"] == "image"
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match=r"no TASK_pred\.jsonl in this folder"):
        list(score(Session(quiet=True), Request(run=str(tmp_path / "empty")), has_inputs=False))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no scores"):
        list(results_files.rows([str(tmp_path)]))
    with pytest.raises(MissingError, match="no such file or folder"):
        list(results_files.rows([str(tmp_path / "x")]))
