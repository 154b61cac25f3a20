"""Hard negatives from the shell. Vectors come from files, so that no model is needed."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mining_files import PAIRS, QUERIES, SIDES, TARGETS, dense, on_circle, texts, vectors
from runner import Runner


def test_the_nearest_that_do_not_answer_the_query_are_mined(mine: Runner) -> None:
    assert texts(dense(mine, "--num-negatives", "2")) == {
        "a": ["banana", "lemon"],
        "b": ["cherry", "apple"],
        "c": ["cherry", "apple"],
        "d": ["lemon", "banana"],
        "e": ["banana", "lemon"],
        "f": ["lemon", "banana"],
    }


def test_a_mined_negative_carries_score_rank_and_source_and_the_row_is_untouched(mine: Runner) -> None:
    done = dense(mine, "--num-negatives", "1")
    assert done.rows[0] == {
        **PAIRS[0],
        "schema": "vlm2vec/pair@1",
        "dataset": "default",
        "negatives": [{"text": "banana", "score": 0.707107, "rank": 1, "source": "dense"}],
    }
    assert [{**row, "negatives": 0} for row in done.rows] == [
        {"schema": "vlm2vec/pair@1", "dataset": "default", **pair, "negatives": 0} for pair in PAIRS
    ]


def test_the_margin_drops_what_scores_above_95_percent_of_the_lowest_positive(mine: Runner) -> None:
    done = dense(mine, "--num-negatives", "1", "--relative-margin", "0.05")
    assert texts(done)["b"] == ["apple"]  # 0.866 < 0.95 x 0.966 < cherry's 0.940


def test_range_min_skips_and_range_max_ends(mine: Runner) -> None:
    done = dense(mine, "--num-negatives", "1", "--range-min", "1", "--range-max", "2")
    assert texts(done)["a"] == ["lemon"]


def test_ids_and_keys_are_known_answers(mine: Runner) -> None:
    ids = {"a": {"positive_ids": ["x"]}, "b": {"positive_ids": ["x", "y"]}}
    extra = {**ids, "e": {"key": "k"}, "c": {"key": "k"}}
    mine.write("pairs.jsonl", [{**pair, **extra.get(pair["id"], {})} for pair in PAIRS])
    found = texts(dense(mine, "--num-negatives", "4"))
    assert (found["a"], found["b"]) == (["lemon", "cat", "dog"], ["cherry", "cat", "dog"])
    assert (found["e"], found["c"]) == (["banana", "cat", "dog"], ["apple", "cat", "dog"])


def test_copies_of_a_positive_under_another_spelling_are_never_mined(mine: Runner) -> None:
    copy = {"id": "g", "query": {"text": "animal"}, "positive": {"text": " apple "}}
    vector = {"role": "candidate", "text": " apple ", "embedding": on_circle(11)}
    mine.write("pairs.jsonl", [*PAIRS, copy])
    mine.write("vectors.jsonl", [*vectors(), vector])
    found = texts(dense(mine, "--num-negatives", "5"))
    assert all("apple" not in text for name in "aedfg" for text in found[name])


def test_a_copy_of_the_positive_picture_is_never_mined(vlm2vec: Runner) -> None:
    for name, color in (("a.png", "red"), ("copy.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (8, 8), color).save(vlm2vec.work / name)
    names = ["a.png", "copy.png", "b.png"]
    pairs = [{"id": name, "query": {"text": name}, "positive": {"image": name}} for name in names]
    vlm2vec.write("pairs.jsonl", pairs)
    given = [{"role": "query", "text": name, "embedding": [1, 0]} for name in names]
    given += [{"role": "candidate", "image": name, "embedding": [1, 0.1]} for name in names]
    vlm2vec.write("vectors.jsonl", given)
    found = [[one["image"] for one in row["negatives"]] for row in dense(vlm2vec).rows]
    assert found == [["b.png"], ["b.png"], ["a.png"]]
    by_name = dense(vlm2vec, "--media-identity", "reference")
    assert [len(row["negatives"]) for row in by_name.rows] == [2, 2, 2]


def test_negatives_that_a_pair_has_come_first_and_are_not_mined_again(mine: Runner) -> None:
    mine.write("pairs.jsonl", [{**PAIRS[0], "negatives": [{"text": "banana", "note": 1}]}, *PAIRS[1:]])
    assert dense(mine, "--num-negatives", "1").rows[0]["negatives"] == [
        {"text": "banana", "note": 1},
        {"text": "lemon", "score": 0.573576, "rank": 1, "source": "dense"},
    ]
    replaced = dense(mine, "--num-negatives", "1", "--replace").rows[0]["negatives"]
    assert [one["text"] for one in replaced] == ["banana"]


def test_datasets_are_apart_unless_asked(mine: Runner) -> None:
    mine.write("pairs.jsonl", [{**pair, "dataset": "AB"[pair["id"] in "df"]} for pair in PAIRS])
    assert texts(dense(mine))["d"] == []
    assert texts(dense(mine, "--across-datasets"))["d"] == ["lemon", "banana", "cherry"]


def test_a_corpus_of_items_is_mined_in_place_of_the_positives(mine: Runner) -> None:
    mine.write("corpus.jsonl", [{"id": "1", "text": "cat"}, {"id": "2", "text": "apple"}])
    found = texts(dense(mine, "--corpus", "corpus.jsonl"))
    assert [found[id] for id in "abd"] == [["cat"], ["apple", "cat"], ["apple"]]


def test_a_corpus_with_vectors_needs_no_other_for_its_rows(mine: Runner) -> None:
    vector = {"schema": "vlm2vec/vector@1", "embedding": on_circle(15)}
    rows = [{"role": "candidate", "text": "pear"}, {"role": "query", "text": "who?"}]
    mine.write("corpus.jsonl", [{**vector, **row} for row in rows])
    assert set(map(tuple, texts(dense(mine, "--corpus", "corpus.jsonl")).values())) == {("pear",)}


def test_fill_random_and_drop_treat_short_pairs(mine: Runner) -> None:
    short = ("--num-negatives", "4", "--max-score", "0.6")
    kept = dense(mine, *short)
    assert [len(row["negatives"]) for row in kept.rows] == [3, 2, 2, 4, 3, 4]
    assert [row["id"] for row in dense(mine, *short, "--on-short", "drop").rows] == ["d", "f"]
    near = ("--num-negatives", "2", "--range-max", "2", "--min-score", "0.8")
    filled = dense(mine, *near, "--on-short", "fill-random")
    negatives = filled.rows[0]["negatives"]
    assert [one["source"] for one in negatives] == ["random", "random"]
    assert all("score" in one and "rank" not in one for one in negatives)


def test_the_summary_counts_everything(mine: Runner) -> None:
    done = dense(mine, "--num-negatives", "4", "--max-score", "0.6", "--summary", "summary.json")
    facts = json.loads((mine.work / "summary.json").read_bytes())
    own = facts["datasets"]["default"]
    counts = {"pairs": 6, "targets": 6, "copies": 0, "mined": 18, "random": 0, "short": 4, "dropped": 0}
    assert {name: own[name] for name in counts} == counts
    assert own["by_count"] == {"2": 2, "3": 2, "4": 2}
    assert own["removed"]["positive"] == own["removed"]["same_query"] == 6
    assert own["removed"]["max_score"] == 6
    scores = [one["score"] for row in done.rows for one in row["negatives"]]
    assert own["negative"]["count"] == len(scores)
    assert own["negative"]["mean"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert own["negative"]["std"] == pytest.approx(np.std(scores, ddof=1), abs=1e-6)
    positives = np.cos(np.radians([10, 5, 15, 20, 20, 10]))
    assert own["positive"]["25%"] == pytest.approx(np.quantile(positives, 0.25), abs=1e-5)
    assert own["difference"]["count"] == 18
    line, head, *table = done.stderr.decode().splitlines()
    assert line == (
        "vlm2vec: default: 18 negatives for 6 pairs among 6 targets, 4 pairs short;"
        " mean score -0.4165, positives 0.9685; removed: max_score 6"
    )
    assert head.split() == ["vlm2vec:", "positive", "negative", "difference"]
    assert [line.split()[1] for line in table] == [
        "count", "mean", "median", "std", "min", "25%", "50%", "75%", "max",
    ]  # fmt: skip


def test_the_same_input_gives_the_same_bytes_and_the_seed_matters(mine: Runner) -> None:
    asked = ("--sampling", "random", "--num-negatives", "2", "--range-max", "4")
    first, again, other = (dense(mine, *asked, "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other


def test_parquet_goes_in_and_out(mine: Runner) -> None:
    assert dense(mine, "-o", "mined.parquet", "-q").stderr == b""
    again = mine("mine-negatives", "mined.parquet", "--vectors", "vectors.jsonl", "--replace")
    assert again.rows == dense(mine).rows
    assert pq.read_table(mine.work / "mined.parquet").num_rows == len(PAIRS)


def test_quiet_says_nothing(mine: Runner) -> None:
    assert dense(mine, "-q").stderr == b""


# ---------------------------------------------------------------------------------------------- random


def test_random_negatives_say_so_and_answer_nobody(mine: Runner) -> None:
    done = mine("mine-negatives", "pairs.jsonl", "--method", "random", "--num-negatives", "2")
    answers = {"red": {"apple", "cherry"}, "yel": {"banana", "lemon"}, "ani": {"dog", "cat"}}
    for row in done.rows:
        mined = {one["text"] for one in row["negatives"]}
        assert len(mined) == 2
        assert not mined & answers[row["query"]["text"][:3]]
        assert all(one.keys() == {"text", "source"} and one["source"] == "random" for one in row["negatives"])
    again = mine("mine-negatives", "pairs.jsonl", "--method", "random", "--num-negatives", "2")
    assert done.stdout == again.stdout


# ---------------------------------------------------------------------------------------------- a model


@pytest.mark.slow
def test_mining_with_a_model_is_mining_with_the_vectors_that_it_makes(mine: Runner) -> None:
    from vlm2vec_cli import tiny

    tiny.create(mine.work / "model", [*QUERIES, *TARGETS], 0)
    items = [{**pair[side], "role": role} for pair in PAIRS for side, role in SIDES]
    mine.write("items.jsonl", items)
    assert mine("embed", "items.jsonl", "-m", "model", "-o", "made.parquet").exit_code == 0
    by_vectors = mine("mine-negatives", "pairs.jsonl", "--vectors", "made.parquet")
    by_model = mine("mine-negatives", "pairs.jsonl", "-m", "model")
    assert texts(by_vectors) == texts(by_model)
    kept = mine("mine-negatives", "pairs.jsonl", "-m", "model", "--cache", "kept")
    again = mine("mine-negatives", "pairs.jsonl", "-m", "model", "--cache", "kept", "--rescore", "model")
    assert texts(kept) == texts(by_model)
    assert all(one["rescore"] == one["score"] for row in again.rows for one in row["negatives"])
    assert all(1 >= row["negatives"][0]["score"] >= row["negatives"][1]["score"] for row in by_model.rows)
