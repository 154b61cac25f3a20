"""Hard negatives from the shell. Vectors and neighbours come from files, so that no model is needed."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from runner import Done, Runner

Row = dict[str, Any]

# Queries and targets on a circle: the score of two is the cosine of the angle between them.
QUERIES = {"red fruit": 0, "yellow fruit": 40, "animal": 150}
TARGETS = {"apple": 10, "cherry": 20, "banana": 45, "lemon": 55, "cat": 140, "dog": 170}
SIDES = (("query", "query"), ("positive", "candidate"))
PAIRS: list[Row] = [
    {"id": "a", "query": {"text": "red fruit"}, "positive": {"text": "apple"}, "mine": {"x": [1]}},
    {"id": "b", "query": {"text": "yellow fruit"}, "positive": {"text": "banana"}, "weight": 0.5},
    {"id": "c", "query": {"text": "yellow  fruit"}, "positive": {"text": "lemon"}},
    {"id": "d", "query": {"text": "animal"}, "positive": {"text": "dog"}},
    {"id": "e", "query": {"text": "red fruit"}, "positive": {"text": "cherry"}},
    {"id": "f", "query": {"text": "animal"}, "positive": {"text": "cat"}},
]


def on_circle(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def vectors() -> list[Row]:
    rows = [{"role": "query", "text": text, "embedding": on_circle(angle)} for text, angle in QUERIES.items()]
    rows.append({"role": "query", "text": "yellow  fruit", "embedding": on_circle(40)})
    rows += [
        {"role": "candidate", "text": text, "embedding": on_circle(angle)} for text, angle in TARGETS.items()
    ]
    return rows


@pytest.fixture
def mine(vlm2vec: Runner) -> Runner:
    """A folder with pairs.jsonl and vectors.jsonl."""
    vlm2vec.write("pairs.jsonl", PAIRS)
    vlm2vec.write("vectors.jsonl", vectors())
    return vlm2vec


def changed(row: Row, **fields: Any) -> Row:
    """The row, with `fields` if it is the dog's."""
    return {**row, **fields} if row["text"] == "dog" else row


def dense(mine: Runner, *args: str) -> Done:
    return mine("mine-negatives", "pairs.jsonl", "--vectors", "vectors.jsonl", *args)


def texts(done: Done) -> dict[str, list[str]]:
    assert done.exit_code == 0
    return {row["id"]: [one["text"] for one in row["negatives"]] for row in done.rows}


def error(done: Done) -> tuple[int, bytes, list[str]]:
    """Exit code, stdout, and the lines on stderr without the program's name."""
    lines = done.stderr.decode().splitlines()
    return done.exit_code, done.stdout, [line.removeprefix("vlm2vec: error: ") for line in lines]


# ---------------------------------------------------------------------------------------------- dense


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
    assert done.stderr.decode() == (
        "vlm2vec: default: 18 negatives for 6 pairs among 6 targets, 4 pairs short;"
        " mean score -0.4165, positives 0.9685; removed: max_score 6\n"
    )
    table = dense(mine, "--num-negatives", "4", "--max-score", "0.6", "-v").stderr.decode().splitlines()
    assert [line.split()[1] for line in table[2:]] == [
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


# ---------------------------------------------------------------------------------------------- vectors


def test_a_query_without_vector_is_named(mine: Runner) -> None:
    mine.write("vectors.jsonl", [row for row in vectors() if row["text"] != "animal"])
    assert error(dense(mine)) == (65, b"", [
        "pairs.jsonl line 4: query: no vector in vectors.jsonl",
        "hint: wanted: a row of role query with the same text, image, video and instruction",
    ])  # fmt: skip


def test_a_vector_under_the_wrong_role_is_named(mine: Runner) -> None:
    mine.write("vectors.jsonl", [changed(row, role="query") for row in vectors()])
    assert error(dense(mine)) == (65, b"", [
        "pairs.jsonl line 4: positive: no vector in vectors.jsonl",
        'hint: a row of role query has this content: give it "role": "candidate"',
    ])  # fmt: skip


def test_pairs_without_vector_can_be_skipped_and_are_no_targets(mine: Runner) -> None:
    mine.write("vectors.jsonl", [row for row in vectors() if row["text"] not in ("dog", "banana")])
    done = dense(mine, "--on-error", "skip", "--allow-rejects", "2", "--rejects", "bad.jsonl")
    assert [row["id"] for row in done.rows] == ["a", "c", "e", "f"]
    found = {text for negatives in texts(done).values() for text in negatives}
    assert found == {"apple", "lemon", "cherry", "cat"}
    rejected = [json.loads(line) for line in (mine.work / "bad.jsonl").read_text().splitlines()]
    assert [(one["place"], one["row"]["id"]) for one in rejected] == [
        ("pairs.jsonl line 2", "b"), ("pairs.jsonl line 4", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("embedding", "fact"),
    [
        ([0.0, 0.0], "embedding has length 0, so it has no cosine"),
        ([1.0, 0.0, 0.0], "embedding has 3 dimensions, the rows before have 2"),
        (["NaN", 1], "embedding: expected a list of numbers"),
        (on_circle(200), "embedding differs from that of vectors.jsonl line 1 for the same content"),
    ],
)
def test_a_bad_vector_is_named(mine: Runner, embedding: list[Any], fact: str) -> None:
    mine.write("vectors.jsonl", [*vectors(), {"role": "query", "text": "new", "embedding": embedding},
                                 {"role": "query", "text": "red fruit", "embedding": embedding}])  # fmt: skip
    mine.write("pairs.jsonl", [*PAIRS, {"id": "g", "query": {"text": "new"}, "positive": {"text": "cat"}}])
    place = 12 if "differs" in fact else 11
    assert error(dense(mine)) == (65, b"", [f"vectors.jsonl line {place}: {fact}"])


def test_a_vector_that_is_not_finite_is_refused(mine: Runner) -> None:
    rows = [changed(row, embedding=[float("nan"), 1.0]) for row in vectors()]
    pq.write_table(pa.Table.from_pylist(rows), mine.work / "vectors.parquet")
    done = mine("mine-negatives", "pairs.jsonl", "--vectors", "vectors.parquet")
    assert error(done) == (65, b"", ["vectors.parquet row 10: embedding: expected finite numbers"])


def test_vectors_of_two_makers_are_not_mixed_unless_told(mine: Runner) -> None:
    old = [{**row, "fingerprint": "old"} for row in vectors()]
    mine.write("vectors.jsonl", [changed(row, fingerprint="new") for row in old])
    assert error(dense(mine)) == (65, b"", [
        "vectors.jsonl line 10: fingerprint new differs from fingerprint old of the rows before",
        "hint: embed both sides with the same model and options, or --allow-mixed-fingerprints",
    ])  # fmt: skip
    assert dense(mine, "--allow-mixed-fingerprints").exit_code == 0


def test_an_empty_stream_is_an_error(mine: Runner) -> None:
    done = mine("mine-negatives", "--method", "random", stdin=b"")
    assert error(done) == (65, b"", ["stdin: no pairs to mine for"])


def test_a_dataset_with_one_target_ends_short(mine: Runner) -> None:
    mine.write("pairs.jsonl", PAIRS[:1])
    done = dense(mine, "--summary", "summary.json")
    assert done.rows[0]["negatives"] == []
    assert json.loads((mine.work / "summary.json").read_bytes())["short"] == 1


def test_more_negatives_than_targets_are_counted_short(mine: Runner) -> None:
    done = dense(mine, "--num-negatives", "100", "--on-short", "fill-random")
    assert {len(row["negatives"]) for row in done.rows} == {4}
    assert b"6 pairs short" in done.stderr


def test_media_of_two_folders_are_not_mixed(vlm2vec: Runner) -> None:
    for folder in "ab":
        (vlm2vec.work / folder).mkdir()
        Image.new("RGB", (4, 4), (ord(folder), 0, 0)).save(vlm2vec.work / folder / "x.png")
        pair = {"query": {"text": folder}, "positive": {"image": "x.png"}}
        vlm2vec.write(f"{folder}/pairs.jsonl", [pair])
    done = vlm2vec("mine-negatives", "a/pairs.jsonl", "b/pairs.jsonl", "--method", "random")
    code, stdout, lines = error(done)
    assert (code, stdout) == (65, b"")
    assert lines[0].startswith("media of default are resolved against ")
    assert lines[1] == "hint: --media-root DIR, with references that start from one folder"


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ("", ["--method dense needs vectors", "hint: add -m MODEL or --vectors FILE"]),
        ("-m tiny --vectors v", ["--model and --vectors exclude each other"]),
        (
            "--method random --max-score 1",
            ["--max-score has no use with --method random: it has no scores"],
        ),
        (
            "--method labels",
            ["--method labels needs vectors", "hint: add -m MODEL or --vectors FILE or --neighbors FILE"],
        ),
        (
            "-m tiny --neighbors-out n",
            ["--neighbors-out has no use with --method dense: it has no labels"],
        ),
        ("-m tiny --relative-margin 5", ["--relative-margin: expected 0 to 1, got 5"]),
        (
            "-m tiny --range-min 3 --range-max 5",
            [
                "--range-max 5 leaves 2 of 3 negatives",
                "hint: raise --range-max, or lower --range-min or --num-negatives",
            ],
        ),
        ("-m tiny --min-score 0.5 --max-score 0.1", ["--min-score 0.5 is above --max-score 0.1"]),
    ],
)
def test_options_that_do_not_go_together(mine: Runner, args: str, lines: list[str]) -> None:
    assert error(mine("mine-negatives", "pairs.jsonl", *args.split())) == (2, b"", lines)


def test_no_negatives_cannot_be_asked_for(mine: Runner) -> None:
    code, stdout, lines = error(dense(mine, "--num-negatives", "0"))
    assert (code, stdout) == (2, b"")
    assert "--num-negatives" in lines[0]


def test_a_missing_file_of_vectors_is_named(mine: Runner) -> None:
    done = mine("mine-negatives", "pairs.jsonl", "--vectors", "none.parquet")
    assert error(done) == (66, b"", ["none.parquet: no such file"])


def test_faiss_is_asked_for_where_it_is_not_installed(mine: Runner) -> None:
    mine.write("blocked/faiss.py", "raise ImportError")
    done = mine(
        "mine-negatives", "pairs.jsonl", "--vectors", "vectors.jsonl", "--backend", "faiss",
        env={"PYTHONPATH": str(mine.work / "blocked")},
    )  # fmt: skip
    assert error(done) == (69, b"", [
        "--backend faiss: faiss is not installed",
        "hint: pip install 'vlm2vec-cli[faiss]', or --backend exact",
    ])  # fmt: skip


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


# ---------------------------------------------------------------------------------------------- labels

RELATIONS = [("1", "man-horse", "riding"), ("2", "cup-table", "on"), ("3", "cup-table", "standing on"),
             ("4", "dog-bench", "under"), ("5", "boy-bike", "on top of")]  # fmt: skip
NEIGHBORS = {
    "on": {"neighbors": ["standing on", "on top of", "over", "riding"], "scores": [0.9, 0.8, 0.7, 0.2]},
    "riding": {"neighbors": ["on", "standing on"], "scores": [0.6, 0.5]},
    "standing on": {"neighbors": ["on", "on top of"], "scores": [0.9, 0.7]},
    "on top of": {"neighbors": ["on", "over", "standing on"], "scores": [0.8, 0.75, 0.7]},
}


def relations(vlm2vec: Runner, neighbors: Any = NEIGHBORS) -> None:
    rows = [
        {"id": id, "query": {"text": query}, "positive": {"text": label}} for id, query, label in RELATIONS
    ]
    vlm2vec.write("pairs.jsonl", rows)
    vlm2vec.write("neighbors.json", json.dumps(neighbors))


def labels(vlm2vec: Runner, *args: str) -> Done:
    return vlm2vec("mine-negatives", "pairs.jsonl", "--method", "labels", *args)


def test_given_neighbours_are_taken_in_order_then_random_labels(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    done = labels(vlm2vec, "--neighbors", "neighbors.json")
    found = {row["id"]: row["negatives"] for row in done.rows}
    assert found["2"] == [  # "standing on" is right for the same pair of things
        {"text": "on top of", "score": 0.8, "rank": 1, "source": "labels"},
        {"text": "over", "score": 0.7, "rank": 2, "source": "labels"},
        {"text": "riding", "score": 0.2, "rank": 3, "source": "labels"},
    ]
    assert [one["text"] for one in found["1"][:2]] == ["on", "standing on"]
    assert found["1"][2].keys() == {"text", "source"}
    assert found["1"][2]["source"] == "random"
    assert found["1"][2]["text"] in ("under", "on top of")
    assert [one["source"] for one in found["4"]] == ["random"] * 3


def test_limits_hold_for_neighbours_and_what_they_refuse_does_not_come_back(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    limited = ("--max-score", "0.65", "--num-negatives", "5")
    found = texts(labels(vlm2vec, "--neighbors", "neighbors.json", *limited))
    assert set(found["5"]) == {"riding", "under"}


def test_only_the_first_neighbours_are_taken(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--num-neighbors", "1", "--num-negatives", "1")
    assert texts(done)["5"] == ["on"]


def test_neighbours_need_no_scores_unless_a_limit_does(vlm2vec: Runner) -> None:
    relations(vlm2vec, {"on": {"neighbors": ["under", "riding"]}})
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--num-negatives", "1")
    assert done.rows[1]["negatives"] == [{"text": "under", "rank": 1, "source": "labels"}]
    refused = labels(vlm2vec, "--neighbors", "neighbors.json", "--max-score", "0.5")
    assert error(refused) == (65, b"", ["neighbors.json: 'on': no scores, which --max-score needs"])


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ([], 'expected {label: {"neighbors": [...], "scores": [...]}}'),
        ({"on": ["under"]}, "'on': expected neighbors, a list of labels"),
        ({"on": {"neighbors": ["under"], "scores": []}}, "'on': expected scores, a number a neighbor"),
    ],
)
def test_a_file_that_is_no_neighbours_is_named(vlm2vec: Runner, content: Any, fact: str) -> None:
    relations(vlm2vec, content)
    assert error(labels(vlm2vec, "--neighbors", "neighbors.json")) == (65, b"", [f"neighbors.json: {fact}"])


def ranked(done: Done) -> list[list[Row]]:
    return [[one for one in row["negatives"] if "rank" in one] for row in done.rows]


def test_neighbours_are_computed_written_and_read_again(vlm2vec: Runner) -> None:
    relations(vlm2vec)
    angles = {"riding": 0, "on": 10, "standing on": 25, "on top of": 45, "under": 100}
    rows = [
        {"role": "candidate", "text": text, "embedding": on_circle(angle)} for text, angle in angles.items()
    ]
    vlm2vec.write("vectors.jsonl", rows)
    asked = ("--num-neighbors", "2", "--num-negatives", "2")
    done = labels(vlm2vec, "--vectors", "vectors.jsonl", "--neighbors-out", "out.json", *asked)
    written = json.loads((vlm2vec.work / "out.json").read_bytes())
    assert list(written) == sorted(angles)
    assert written["on"] == {"neighbors": ["riding", "standing on"], "scores": [0.984808, 0.965926]}
    assert texts(done)["1"] == ["on", "standing on"]
    again = labels(vlm2vec, "--neighbors", "out.json", *asked)
    assert ranked(done) == ranked(again)


def test_labels_can_stand_in_another_field(vlm2vec: Runner) -> None:
    rows = [
        {
            "id": id,
            "query": {"text": query},
            "positive": {"text": f"It is {label} it."},
            "of": {"it": label},
        }
        for id, query, label in RELATIONS
    ]
    vlm2vec.write("neighbors.json", json.dumps(NEIGHBORS))
    vlm2vec.write("pairs.jsonl", rows)
    asked = ("--label-field", "of.it", "--num-negatives", "2")
    found = texts(labels(vlm2vec, "--neighbors", "neighbors.json", *asked))
    assert found["2"] == ["It is on top of it.", "It is riding it."]  # no pair has the sentence of "over"


def test_a_positive_with_a_picture_is_no_label(vlm2vec: Runner) -> None:
    vlm2vec.write("neighbors.json", "{}")
    vlm2vec.write("pairs.jsonl", [{"query": {"text": "q"}, "positive": {"text": "t", "image": "x.png"}}])
    done = labels(vlm2vec, "--neighbors", "neighbors.json", "--media-identity", "reference")
    assert error(done) == (65, b"", [
        "pairs.jsonl line 1: positive: expected a text alone, which is the label",
        "hint: --label-field FIELD names the field that holds the label",
    ])  # fmt: skip


def test_labels_of_two_datasets_do_not_fit_one_file(vlm2vec: Runner) -> None:
    rows = [
        {"dataset": "AB"[n % 2], "query": {"text": query}, "positive": {"text": label}}
        for n, (_, query, label) in enumerate(RELATIONS)
    ]
    vlm2vec.write("pairs.jsonl", rows)
    vectors = [
        {"role": "candidate", "text": label, "embedding": [1, n]} for n, (_, _, label) in enumerate(RELATIONS)
    ]
    vlm2vec.write("vectors.jsonl", vectors)
    done = labels(vlm2vec, "--vectors", "vectors.jsonl", "--neighbors-out", "out.json")
    assert error(done) == (65, b"", [
        "out.json: labels of 2 datasets (A, B) do not fit one file",
        "hint: --across-datasets, or one dataset at a time",
    ])  # fmt: skip


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
