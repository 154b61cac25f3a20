"""Means of reports: over which tasks, with what counts and intervals."""

import pytest

from reports import mean, report_of, score_row
from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.reporting import sizes, tables
from vlm2vec_cli.reporting.layout import GROUPS
from vlm2vec_cli.reporting.results import MeanValue

V2 = "published:VLM2Vec-V2.0-Qwen2VL-2B"


def everything(value: float = 0.5, model: str = "model") -> list[dict[str, object]]:
    tasks = catalogue.tasks().values()
    return [score_row(task["name"], value, model, main_metric=task["main_metric"]) for task in tasks]


def test_the_groups_of_the_paper_have_the_paper_s_sizes() -> None:
    report = report_of(everything())
    sizes = {one.key: len(one.tasks) for one in report.means}
    assert sizes == {
        **{"I-CLS": 10, "I-QA": 10, "I-RET": 12, "I-VG": 4, "image": 36},
        **{"I-IND": 20, "I-OOD": 16},
        **{"V-CLS": 5, "V-QA": 5, "V-RET": 5, "V-MRET": 3, "video": 18},
        **{"VDRv1": 10, "VDRv2": 4, "VisRAG": 6, "VD-OOD": 4, "visdoc": 24},
        "overall": 78,
    }
    assert set(GROUPS) <= set(sizes)
    assert report.missing == {}


def test_published_scores_give_the_means_the_paper_prints() -> None:
    report = report_of(everything(), f"{V2}@v2.0.0")
    printed = {
        **{"I-CLS": 62.9, "I-QA": 56.3, "I-RET": 69.5, "I-VG": 77.3, "image": 64.9},
        **{"V-CLS": 39.3, "V-QA": 34.3, "V-RET": 28.8},
        **{"VDRv1": 75.5, "VDRv2": 44.9, "VisRAG": 79.4, "VD-OOD": 39.4, "visdoc": 65.4, "overall": 58.0},
    }
    found = {key: round(100 * (mean(report, key).value or 0), 1) for key in printed}
    assert found == printed


def test_means_are_plain_means_of_the_tasks_found_with_their_count() -> None:
    rows = [
        score_row("ImageNet-1K", 0.8),
        score_row("N24News", 0.5),
        score_row("OK-VQA", 0.3),
        score_row("K700", 0.1),
    ]
    report = report_of(rows)
    assert report.benchmark == "MMEB-V2"
    assert mean(report, "I-CLS") == MeanValue(pytest.approx(0.65), None, 2, 10)
    assert mean(report, "image") == MeanValue(pytest.approx(1.6 / 3), None, 3, 36)
    assert mean(report, "overall") == MeanValue(pytest.approx(0.425), None, 4, 78)
    assert mean(report, "visdoc") == MeanValue(None, None, 0, 24)


def test_missing_tasks_are_named_with_whole_groups_put_together() -> None:
    rows = [
        row
        for row in everything()
        if not str(row["dataset"]).startswith(("ViDoRe", "VisRAG", "ViDoSeek", "MMLong"))
    ]
    rows = [
        row
        for row in rows
        if row["dataset"] not in ("GQA", "MSCOCO", "RefCOCO", "RefCOCO-Matching", "Visual7W-Pointing")
    ]
    report = report_of(rows)
    assert len(report.missing["model"]) == 29
    assert report.notes == (
        "29 tasks of MMEB-V2 without a score (model): all 24 of visdoc, all 4 of I-VG, GQA",
    )


def test_other_datasets_are_grouped_by_their_own_fields_and_nothing_is_missing() -> None:
    rows = [
        score_row("a", 0.2, modality="image", group="retrieval"),
        score_row("b", 0.4, modality="image", task_type="classification"),
        score_row("c", 0.9, modality="image", group="retrieval", task_type="x"),
        score_row("d", 1.0, modality="video", group="retrieval"),
        score_row("e", 0.0),
    ]
    report = report_of(rows)
    values = {one.key: (round(mean(report, one.key).value or 0, 6), len(one.tasks)) for one in report.means}
    assert values == {
        "image/retrieval": (0.55, 2),
        "image/classification": (0.4, 1),
        "image": (0.5, 3),
        "video": (1.0, 1),
        "overall": (0.5, 5),
    }
    assert (report.benchmark, report.missing, report.notes) == (None, {}, ())


def test_datasets_outside_the_benchmark_do_not_enter_its_means() -> None:
    rows = [score_row("GQA", 0.6), score_row("mine", 0.0, modality="image"), score_row("yours", 0.2)]
    report = report_of(rows)
    assert mean(report, "overall") == MeanValue(0.6, None, 1, 78)
    assert mean(report, "other").value == pytest.approx(0.1)
    assert [task.name for task in report.tasks if task.listed] == ["GQA"]


def test_the_order_of_rows_does_not_matter_for_benchmark_tasks() -> None:
    rows = everything()
    assert report_of(rows).tasks == report_of(rows[::-1]).tasks


def test_intervals_of_means_add_in_squares_and_need_every_task() -> None:
    rows = [
        score_row("a", 0.5, ci95={"hit@1": [0.47, 0.53]}),
        score_row("b", 0.7, ci95={"hit@1": [0.66, 0.74]}),
    ]
    value = mean(report_of(rows), "overall")
    assert value.interval == (pytest.approx(0.6 - 0.025), pytest.approx(0.6 + 0.025))
    assert mean(report_of([*rows, score_row("c", 0.1)]), "overall").interval is None


def test_sizes_of_one_model_are_columns_and_a_curve() -> None:
    rows = [
        score_row(dataset, value, dim=dim, precision=precision, **more)
        for dataset in ("a", "b")
        for dim, precision, value, more in (
            (1024, "float32", 0.8, {}),
            (256, "float32", 0.7, {}),
            (1024, "binary", 0.6, {}),
            (1024, "binary", 0.75, {"rescore": 100}),
        )
    ]
    report = report_of(rows)
    names = ["1024", "256", "1024 binary", "1024 binary, 100 rescored"]
    assert [column.name for column in report.columns] == [f"model [{name}]" for name in names]
    assert tables.short_names(report) == names
    (curves,) = sizes.curves(report).values()
    assert [(one.label, one.num_tasks, len(one.points)) for one in curves] == [
        ("float32", 2, 2),
        ("binary", 2, 1),
        ("binary, 100 rescored", 2, 1),
    ]
    assert [point.num_bytes for point in curves[0].points] == [1024, 4096]
    assert [point.value for point in curves[0].points] == pytest.approx([0.7, 0.8])
    assert curves[1].points[0].num_bytes == 128
    assert not sizes.curves(report_of(rows[:1]))
    baseline = [rows[0], rows[2]]
    assert [(one.column, one.reference) for one in report_of(rows[:1], baseline).comparisons] == [(2, 0)]


def test_means_by_a_field_of_rows_or_catalogue() -> None:
    rows = [score_row(name, value, lang=lang) for name, value, lang in (("a", 0.2, "en"), ("b", 0.4, "de"))]
    report = report_of([*rows, score_row("c", 0.6, lang="en")], group_by=["lang"])
    by_field = {mean.key: mean.tasks for mean in report.means if mean.level == "split"}
    assert by_field == {"lang=en": ("a", "c"), "lang=de": ("b",)}
    tasks = [score_row("GQA", 0.5), score_row("MSR-VTT", 0.7)]
    keys = {mean.key for mean in report_of(tasks, group_by=["parser"]).means}
    assert {"parser=image_qa", "parser=msrvtt"} <= keys
    with pytest.raises(UsageError, match=r"^--group-by: no score has the field 'langg'") as raised:
        report_of(rows, group_by=["langg"])
    assert raised.value.hint is not None


def test_the_two_sides_of_v1_are_the_paper_s() -> None:
    report = report_of(everything())
    split = {mean.key: mean for mean in report.means if mean.level == "split"}
    assert sorted(split["I-IND"].tasks + split["I-OOD"].tasks) == sorted(
        next(mean for mean in report.means if mean.key == "image").tasks
    )
    assert {"ImageNet-1K", "MSCOCO"} <= set(split["I-IND"].tasks)
    assert {"Place365", "RefCOCO"} <= set(split["I-OOD"].tasks)


def test_unequal_counts_and_several_fingerprints_are_noted() -> None:
    rows = [
        score_row("a", 0.5, "m", num_queries=100, fingerprint="f1"),
        score_row("b", 0.5, "m", fingerprint="f2"),
        score_row("a", 0.5, "n", num_queries=90),
    ]
    assert report_of(rows).notes == (
        "the scores of m come from 2 different fingerprints: f1, f2",
        "not the same queries, compare with care: a (100 / 90)",
    )
