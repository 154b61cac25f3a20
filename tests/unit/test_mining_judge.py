"""The judge, suspicious positives, and the page that shows both."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mining_run import Model, Row, run
from vlm2vec_cli.errors import DataError
from vlm2vec_cli.mining import cache

# On a circle, as the miner and as the judge see them: the score of two is the cosine of the angle between.
MINER = {"q a": 0, "t a": 10, "t b": 20, "t c": 30, "q b": 40, "q c": 70}
JUDGE = {"q a": 0, "t a": 20, "t b": 15, "t c": 50, "q b": 30, "q c": 170}
PAIRS: list[Row] = [
    {"id": name, "query": {"text": f"q {name}"}, "positive": {"text": f"t {name}"}} for name in "abc"
]


def model(angles: dict[str, int], name: str) -> Model:
    def vector_of(content: Row) -> list[float]:
        angle = np.radians(angles[content["text"]])
        return [float(np.cos(angle)), float(np.sin(angle)), 0.0]

    return Model(vector_of, name)


def models() -> dict[str, Model]:
    return {"miner": model(MINER, "miner"), "judge": model(JUDGE, "judge")}


def cosine(degrees: float) -> float:
    return round(float(np.cos(np.radians(degrees))), 6)


def test_the_judge_drops_what_it_scores_near_the_positive() -> None:
    rows, facts = run(PAIRS[:2], {"model": "miner", "rescore": "judge", "num_negatives": 1}, models=models())
    assert rows[0]["negatives"] == []  # t b, which the judge puts nearer than t a
    assert rows[1]["negatives"] == []  # t a, at 10 degrees as against 15
    assert facts["datasets"]["default"]["removed"]["rescore"] == 2
    assert facts["short"] == 2


def test_what_the_judge_leaves_carries_its_score() -> None:
    rows, _ = run(PAIRS, {"model": "miner", "rescore": "judge", "num_negatives": 2}, models=models())
    assert rows[0]["negatives"] == [
        {"text": "t c", "score": cosine(30), "rescore": cosine(50), "rank": 2, "source": "dense"}
    ]


def test_a_wider_margin_of_the_judge_drops_more() -> None:
    options = {"model": "miner", "rescore": "judge", "num_negatives": 2}
    rows, _ = run(PAIRS, {**options, "rescore_margin": 0.4}, models=models())
    assert rows[0]["negatives"] == []  # cos 50 = 0.643 > 0.6 x cos 20


def test_the_judge_looks_at_random_draws_too() -> None:
    options = {"method": "random", "rescore": "judge", "num_negatives": 2}
    rows, _ = run(PAIRS, options, models=models())
    assert [one["text"] for one in rows[0]["negatives"]] == ["t c"]
    assert rows[0]["negatives"][0]["rescore"] == cosine(50)


def test_the_judge_embeds_only_what_it_is_asked_about() -> None:
    both = models()
    corpus = [{"text": f"t {name}"} for name in "abc"]
    run(
        PAIRS[:1],
        {"model": "miner", "rescore": "judge", "corpus": "corpus.jsonl", "range_max": 1, "num_negatives": 1},
        {"corpus.jsonl": corpus},
        models=both,
    )
    assert sorted(one["text"] for one in both["judge"].asked) == ["q a", "t a", "t b"]
    assert len(both["miner"].asked) == 4


def test_what_the_judge_cannot_score_is_never_mined() -> None:
    def vector_of(content: Row) -> list[float]:
        if content["text"] in ("t b", "t d"):
            raise DataError("cannot be read")
        return (
            [1.0, 0.0, 0.0]
            if content["text"][0] == "q"
            else [float("abc".index(content["text"][2])), 1.0, 0.0]
        )

    pairs: list[Row] = [*PAIRS, {"id": "d", "query": {"text": "q d"}, "positive": {"text": "t d"}}]
    miner = Model(lambda content: [1.0, len(content["text"]) / 10, 0.0])
    options = {"model": "miner", "rescore": "judge", "rescore_margin": 0.0, "num_negatives": 9}
    both = {"miner": miner, "judge": Model(vector_of)}
    rows, _ = run(pairs, options, models=both, skip=True)
    assert [[one["text"] for one in row["negatives"]] for row in rows] == [[], [], ["t a"], []]
    with pytest.raises(DataError, match="line 2: cannot be read"):
        run(pairs, options, models=both)


def test_a_pair_without_vectors_is_no_matter_for_the_judge() -> None:
    def vector_of(content: Row) -> list[float]:
        if content["text"] == "q b":
            raise DataError("cannot be read")
        return [1.0, float(ord(content["text"][2])), 0.0]

    options = {"model": "miner", "rescore": "judge", "num_negatives": 2}
    both = {"miner": Model(vector_of), "judge": model(JUDGE, "judge")}
    rows, facts = run(PAIRS, options, models=both, skip=True)
    assert [row["id"] for row in rows] == ["a", "c"]
    assert facts["rejected"] == 1


def test_positives_that_look_wrong_are_named_and_stay() -> None:
    options = {"model": "miner", "keep_positives_below": 0.9, "num_negatives": 1}
    rows, facts = run(PAIRS, options, models=models())
    assert len(rows) == 3
    assert facts["low_positives"]["count"] == 1
    (low,) = facts["low_positives"]["pairs"]
    assert (low["id"], low["score"], low["place"][-18:]) == ("c", cosine(40), "pairs.jsonl line 3")
    _, judged = run(PAIRS, {**options, "rescore": "judge", "rescore_margin": 0.0}, models=models())
    assert [one["id"] for one in judged["low_positives"]["pairs"]] == ["c"]
    assert judged["low_positives"]["pairs"][0]["score"] == cosine(120)


def test_the_audit_shows_the_smallest_leads_first_with_pictures(tmp_path: Path) -> None:
    for name, color in (("a", "red"), ("b", "green"), ("c", "blue")):
        Image.new("RGB", (400, 200), color).save(tmp_path / f"{name}.png")
    angles = {"q <a>": 0, "a.png": 10, "b.png": 20, "c.png": 30, "q b": 22, "q c": 90}
    queries = ("q <a>", "q b", "q c")
    pairs = [
        {"query": {"text": text}, "positive": {"image": f"{one}.png"}}
        for text, one in zip(queries, "abc", strict=True)
    ]

    def vector_of(content: Row) -> list[float]:
        angle = np.radians(angles[content.get("text") or content["image"]])
        return [float(np.cos(angle)), float(np.sin(angle)), 0.0]

    options = {
        "model": "m",
        "num_negatives": 1,
        "audit": "audit.html",
        "audit_size": 2,
        "keep_positives_below": 0.6,
    }
    run(pairs, options, models={"m": Model(vector_of)}, folder=tmp_path)
    page = (tmp_path / "audit.html").read_text()
    articles = page.split("<article>")[1:]
    assert [one.split("<small>")[0].split()[-1] for one in articles] == ["2", "1", "3"]
    assert f"lead {np.cos(np.radians(2)) - np.cos(np.radians(8)):.4f}" in articles[0]
    assert "q &lt;a&gt;" in articles[1]
    assert [one.count("data:image/jpeg;base64,") for one in articles] == [2, 2, 1]
    assert "http" not in page
    assert "src=" not in page.replace('src="data:', "")


# ------------------------------------------------------------------------------------------------ cache


def asked_of(found: Model) -> list[str]:
    return sorted(one.get("text") or one.get("image") or one["video"] for one in found.asked)


def cached(tmp_path: Path, pairs: list[Row], fingerprint: str = "one") -> list[str]:
    """What the model was asked for in a run with a cache."""
    made = Model(lambda content: [1.0, float(len(content.get("text", ""))), 0.0], fingerprint)
    rows, _ = run(pairs, {"model": "m", "cache": "kept"}, models={"m": made}, folder=tmp_path)
    fresh = Model(lambda content: [1.0, float(len(content.get("text", ""))), 0.0], fingerprint)
    assert rows == run(pairs, {"model": "m"}, models={"m": fresh}, folder=tmp_path)[0]
    return asked_of(made)


def test_a_kept_vector_is_found_by_content_and_fingerprint(tmp_path: Path) -> None:
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (8, 8), color).save(tmp_path / name)
    pairs: list[Row] = [{"query": {"text": one}, "positive": {"image": f"{one}.png"}} for one in "ab"]
    everything = ["a", "a.png", "b", "b.png"]
    assert cached(tmp_path, pairs) == everything
    assert cached(tmp_path, pairs) == []
    assert cached(tmp_path, pairs, "other weights or settings") == everything
    (tmp_path / "a.png").rename(tmp_path / "c.png")  # the same bytes under another name
    assert cached(tmp_path, [{**pairs[0], "positive": {"image": "c.png"}}, pairs[1]]) == []
    Image.new("RGB", (8, 8), "green").save(tmp_path / "b.png")
    assert cached(tmp_path, pairs[1:]) == ["b.png"]
    assert cached(tmp_path, [{**pairs[1], "query": {"text": "b", "instruction": "Find it."}}]) == ["b"]


def test_other_frames_of_a_video_are_other_vectors(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    pairs: list[Row] = [{"query": {"text": "a"}, "positive": {"video": "a.mp4"}}]
    fewer: list[Row] = [{"query": {"text": "a"}, "positive": {"video": "a.mp4", "num_frames": 4}}]
    assert cached(tmp_path, pairs) == ["a", "a.mp4"]
    assert cached(tmp_path, fewer) == ["a.mp4"]
    assert cached(tmp_path, fewer) == []


def test_a_cache_in_use_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(tmp_path, PAIRS)
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0)
    with contextlib.closing(sqlite3.connect(tmp_path / "kept" / "one.sqlite")) as other:
        other.execute("begin exclusive")
        with pytest.raises(DataError, match="another run is using this cache") as caught:
            cached(tmp_path, PAIRS)
    assert caught.value.hint == "wait for it, or name another folder with --cache"


def test_miner_and_judge_may_share_a_cache(tmp_path: Path) -> None:
    options = {"model": "miner", "rescore": "judge", "cache": "kept"}
    same = {"miner": model(MINER, "one"), "judge": model(MINER, "one")}
    rows, _ = run(PAIRS, options, models=same, folder=tmp_path)
    assert same["judge"].asked == []
    assert all(one["score"] == one["rescore"] for row in rows for one in row["negatives"])


@pytest.mark.parametrize("damage", ["file", "vector"])
def test_an_unreadable_cache_is_named(tmp_path: Path, damage: str) -> None:
    cached(tmp_path, PAIRS)
    path = tmp_path / "kept" / "one.sqlite"
    if damage == "file":
        path.write_bytes(b"something else" * 100)
    else:
        with sqlite3.connect(path) as base:
            base.execute("update vectors set vector = x'00'")
        base.close()
    with pytest.raises(DataError, match="not a usable cache of vectors") as caught:
        cached(tmp_path, PAIRS)
    assert caught.value.place == str(path)


def test_an_interrupted_run_keeps_what_it_computed(tmp_path: Path) -> None:
    def vector_of(content: Row) -> list[float]:
        if content["text"] == "t c":
            raise KeyboardInterrupt
        return [1.0, 1.0, 0.0]

    with pytest.raises(KeyboardInterrupt):
        run(PAIRS, {"model": "m", "cache": "kept"}, models={"m": Model(vector_of, "one")}, folder=tmp_path)
    assert cached_again(tmp_path) == ["t c"]


def cached_again(tmp_path: Path) -> list[str]:
    made = Model(lambda content: [1.0, 1.0, 0.0], "one")
    run(PAIRS, {"model": "m", "cache": "kept"}, models={"m": made}, folder=tmp_path)
    return asked_of(made)
