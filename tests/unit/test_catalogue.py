from collections import Counter

import pytest

from vlm2vec_cli import catalogue, plugins

ENTRIES = [*catalogue.tasks().values(), *catalogue.train_sources().values()]


def test_the_benchmark_has_its_78_tasks_in_12_groups() -> None:
    tasks = catalogue.tasks()
    assert Counter(entry["modality"] for entry in tasks.values()) == {"image": 36, "video": 18, "visdoc": 24}
    assert Counter(entry["group"] for entry in tasks.values()) == {
        "I-CLS": 10,
        "I-QA": 10,
        "I-RET": 12,
        "I-VG": 4,
        "V-CLS": 5,
        "V-QA": 5,
        "V-RET": 5,
        "V-MRET": 3,
        "VDRv1": 10,
        "VDRv2": 4,
        "VisRAG": 6,
        "VD-OOD": 4,
    }
    assert len(catalogue.train_sources("mmeb-train")) == 20
    assert len(catalogue.train_sources()) == 25


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry['name']}-{entry['parser']}")
def test_every_entry_has_a_reader_and_the_keys_it_needs(entry: catalogue.Entry) -> None:
    assert callable(plugins.load("readers", catalogue.reader_of(entry)).read)
    for name in ("name", "modality", "group", "task_type", "parser"):
        assert isinstance(entry[name], str)
    assert set(entry["hf"]) == {"repo", "config", "split"}
    if "candidate_template" in entry:
        assert entry["eval_type"] in ("local", "global")
        assert entry["main_metric"] in ("hit@1", "ndcg_linear@5")
        assert isinstance(entry["num_queries"], int)


@pytest.mark.parametrize(
    ("name", "size"), [("K700", 700), ("UCF101", 101), ("HMDB51", 51), ("Breakfast", 10)]
)
def test_label_lists_have_no_label_twice(name: str, size: int) -> None:
    labels = catalogue.label_set(name)
    assert len(labels) == len(set(labels)) == size


def test_published_scores_are_percent_of_known_tasks() -> None:
    published = catalogue.published()
    assert published["newest"] in published["scores"]
    known = {*catalogue.tasks(), "MomentSeeker_1k8"}
    for version, models in published["scores"].items():
        assert version in published["versions"]
        for model, scores in models.items():
            assert model in published["models"]
            assert set(scores) <= known
            assert all(0 <= value <= 100 for value in scores.values())
