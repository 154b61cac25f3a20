import json
from xml.etree import ElementTree

import pytest
from PIL import Image

from reports import query_rows, score_row, write_per_query
from runner import Runner
from vlm2vec_cli.schemas.score import SCORE
from vlm2vec_cli.streams import write_file

BEFORE = [score_row("cats", 0.25, "before"), score_row("dogs", 0.5, "before")]
AFTER = [score_row("cats", 0.5, "after"), score_row("dogs", 0.25, "after")]


@pytest.fixture
def scores(vlm2vec: Runner) -> Runner:
    vlm2vec.write("before.jsonl", BEFORE)
    vlm2vec.write("after.jsonl", AFTER)
    return vlm2vec


def test_text_from_a_pipe(vlm2vec: Runner) -> None:
    done = vlm2vec("report", stdin="".join(json.dumps(row) + "\n" for row in AFTER).encode())
    assert (done.exit_code, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines()[:6] == [
        "Retrieval scores: 2 datasets, 1 model",
        "",
        "mean     tasks  after",
        "-------  -----  -----",
        "Overall    2/2   37.5",
        "",
    ]


def test_files_side_by_side_in_the_format_of_the_suffix(scores: Runner) -> None:
    for name in ("r.html", "r.md", "r.csv", "r.tex", "r.json", "r.xml", "r.txt"):
        done = scores("report", "before.jsonl", "after.jsonl", "-o", name)
        assert (done.exit_code, done.stdout, done.stderr) == (0, b"", b"")
    found = json.loads((scores.work / "r.json").read_bytes())
    assert [(task["name"], task["differences"][0]["value"]) for task in found["tasks"]] == [
        ("cats", 0.25),
        ("dogs", -0.25),
    ]
    assert (scores.work / "r.html").read_text().startswith("<!doctype html>\n")
    assert (scores.work / "r.md").read_text().startswith("## Retrieval scores\n")
    assert (scores.work / "r.tex").read_text().startswith("% needs")
    assert ElementTree.parse(scores.work / "r.xml").getroot().tag == "testsuites"


def test_the_same_command_gives_the_same_bytes(scores: Runner) -> None:
    texts = []
    for seed in ("0", "1"):
        scores(
            "report",
            "before.jsonl",
            "after.jsonl",
            "-o",
            "r.html",
            "--plot",
            "r.svg",
            env={"PYTHONHASHSEED": seed},
        )
        texts.append(((scores.work / "r.html").read_bytes(), (scores.work / "r.svg").read_bytes()))
    assert texts[0] == texts[1]


def test_the_gate_fails_with_1_after_the_report_is_written(scores: Runner) -> None:
    command = ("report", "after.jsonl", "--baseline", "before.jsonl", "--gate", "--max-drop")
    done = scores(*command, "10%", "-o", "r.md")
    assert done.exit_code == 1
    assert done.stderr == (
        b"vlm2vec: error: gate: 1 of 2 checks failed: dogs 50.00 -> 25.00, -25.00 is more than"
        b" the allowed drop of 5.00\n"
    )
    assert "- dogs 50.00 -" in (scores.work / "r.md").read_text()
    assert scores(*command, "0.25").exit_code == 0


def test_unequal_scores_when_told_with_means_by_a_field_and_a_picture(scores: Runner) -> None:
    for name, digest in (("one", "aa"), ("two", "bb")):
        row = score_row("cats", 0.5, name, text_digest=digest, language="en")
        scores.write(f"{name}.jsonl", [row])
    done = scores("report", "one.jsonl", "two.jsonl")
    assert (done.exit_code, done.stdout) == (65, b"")
    assert b"dataset 'cats': one and two were not scored on the same terms: other prompts" in done.stderr
    options = ["--allow-unequal", "--group-by", "language", "--plot", "p.png"]
    done = scores("report", "one.jsonl", "two.jsonl", *options)
    assert done.exit_code == 0
    assert b"\n  language: en" in done.stdout
    assert b"note: dataset 'cats': one and two were not scored" in done.stdout
    assert (scores.work / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_could_not_be_written_is_refused_before_the_report(scores: Runner) -> None:
    done = scores("report", "before.jsonl", "-o", "r.md", "--plot", "no/such/p.svg")
    assert (done.exit_code, done.stderr) == (
        2,
        b"vlm2vec: error: no/such/p.svg: the folder does not exist\nhint: mkdir -p no/such\n",
    )
    assert not (scores.work / "r.md").exists()


def test_errors_are_one_line_each_with_their_exit_code(scores: Runner) -> None:
    scores.write("high.jsonl", [score_row("cats", 25.0)])
    scores.write("empty.jsonl", b"")
    for arguments, code, message in (
        (("empty.jsonl",), 65, "empty.jsonl: no score rows"),
        (("high.jsonl",), 65, "high.jsonl line 1: main_score: expected a number from 0 to 1, got 25.0"),
        (
            ("after.jsonl", "after.jsonl"),
            65,
            "after.jsonl line 1: dataset 'cats' of model 'after' has a score already, at after.jsonl line 1",
        ),
        (("after.jsonl", "--baseline", "published:LamRA"), 2, "--baseline: no published scores of 'LamRA'"),
        (("after.jsonl", "--baseline", "none.jsonl"), 66, "none.jsonl: no such file"),
        (("after.jsonl", "--format", "parquet"), 2, "report does not write parquet"),
    ):
        done = scores("report", *arguments)
        first, *rest = done.stderr.decode().splitlines()
        assert (done.exit_code, done.stdout, first) == (code, b"", f"vlm2vec: error: {message}")
        assert all(line.startswith("hint: ") for line in rest)
        assert len(rest) <= 1


def test_the_gallery_of_what_score_wrote(vlm2vec: Runner) -> None:
    for name, colour in (("cat", "orange"), ("dog", "brown")):
        Image.new("RGB", (120, 80), colour).save(vlm2vec.work / f"{name}.png")
    vectors = [
        {"id": "cat", "role": "candidate", "image": "cat.png", "embedding": [1.0, 0.0]},
        {"id": "dog", "role": "candidate", "image": "dog.png", "embedding": [0.0, 1.0]},
        {"id": "q1", "text": "which one purrs", "relevant": {"cat": 1}, "embedding": [0.9, 0.1]},
        {"id": "q2", "text": "which one barks", "relevant": {"dog": 1}, "embedding": [0.8, 0.2]},
    ]
    rows = [
        {"schema": "vlm2vec/vector@1", "dataset": "pets", "model": "m", "fingerprint": "f", **row}
        for row in vectors
    ]
    vlm2vec.write("v.jsonl", rows)
    assert vlm2vec("score", "v.jsonl", "--per-query", "q.parquet", "-o", "s.jsonl").exit_code == 0
    done = vlm2vec("report", "s.jsonl", "--per-query", "q.parquet", "-o", "r.html")
    assert (done.exit_code, done.stderr) == (0, b"")
    page = (vlm2vec.work / "r.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "which one barks" in page
    assert "first relevant at rank 2 of 2" in page


def test_pictures_that_are_gone_are_said_and_do_not_stop_the_report(vlm2vec: Runner) -> None:
    rows = query_rows("d", [1, 0], image=["gone.png"], media_root=str(vlm2vec.work))
    write_per_query(vlm2vec.work / "q.parquet", rows)
    vlm2vec.write("s.jsonl", [score_row("d", 0.5)])
    done = vlm2vec("report", "s.jsonl", "--per-query", "q.parquet", "-o", "r.html")
    assert done.exit_code == 0
    assert done.stderr.startswith(
        b"vlm2vec: warning: 1 media of the gallery cannot be shown; the first: image gone.png"
    )
    assert "cannot be shown: gone.png" in (vlm2vec.work / "r.html").read_text()


def test_paired_tests_on_the_command_line(vlm2vec: Runner) -> None:
    hits: dict[str, list[int]] = {"before": [1, 1] * 20, "after": [1, 0] * 20}
    for name, own in hits.items():
        vlm2vec.write(f"{name}.jsonl", [score_row("d", sum(own) / 40, name)])
        write_per_query(vlm2vec.work / f"{name}.parquet", query_rows("d", own, name))
    done = vlm2vec(
        *(
            "report",
            "after.jsonl",
            "--baseline",
            "before.jsonl",
            "--significant",
            "--gate",
            "--max-drop",
            "0.01",
        ),
        *("--per-query", "before.parquet", "--per-query", "after.parquet", "--format", "json"),
    )
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["tasks"][0]["differences"][0]["paired"]["significant"] is True
    assert report["gate"]["passed"] is False


def test_published_scores_as_a_baseline(vlm2vec: Runner) -> None:
    vlm2vec.write("s.jsonl", [score_row("GQA", 0.6493), score_row("OK-VQA", 0.4)])
    done = vlm2vec(
        "report", "s.jsonl", "--baseline", "published:VLM2Vec/VLM2Vec-V2.0@v2.0.0", "--format", "json"
    )
    report = json.loads(done.stdout)
    values = {
        task["name"]: {name: cell["value"] for name, cell in task["values"].items()}
        for task in report["tasks"]
    }
    assert values["OK-VQA"] == {"published:VLM2Vec-V2.0-Qwen2VL-2B@v2.0.0": 0.515, "model": 0.4}
    assert len(report["missing"]["model"]) == 76


def test_parquet_and_folders_of_parts_are_read_too(vlm2vec: Runner) -> None:
    parts = vlm2vec.write("parts/before.jsonl", BEFORE).parent
    write_file(str(parts / "after.parquet"), iter(json.loads(json.dumps(AFTER))), SCORE)
    done = vlm2vec("report", "parts", "--format", "csv")
    assert done.exit_code == 0
    lines = [line.split(",") for line in done.stdout.decode().splitlines()[1:]]
    assert [(line[1], line[5], line[9]) for line in lines] == [
        ("cats", "after", "0.5"),
        ("cats", "before", "0.25"),
        ("dogs", "after", "0.25"),
        ("dogs", "before", "0.5"),
        ("overall", "after", "0.375"),
        ("overall", "before", "0.375"),
    ]
