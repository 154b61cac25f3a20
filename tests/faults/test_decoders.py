"""A media worker that crashes, hangs or runs out of memory: an error of its clip, in every command."""

import shutil
import sys
from pathlib import Path

import pytest

import golden
from faults import Tally, contents
from reports import query_rows, score_row, write_per_query
from runner import Runner
from warm import Warm

CLIP = next((Path(__file__).parents[2] / "examples/quickstart/mmeb-train/videos").glob("*.mp4"))
CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"
MEMORY = "resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)); bytearray(1 << 40)"
DOES = {
    "crashes": (CRASH, "the video ended its decoder (signal 11)"),
    "is killed for its memory": (CRASH.replace("SEGV", "KILL"), "the video ended its decoder (signal 9)"),
    "gets no more memory": (MEMORY, "the video ended its decoder (status 1)"),
}
HANG = "time.sleep(600)"
IMPATIENT = """
from vlm2vec_cli import app
from vlm2vec_cli.media import apart
apart.Apart.__init__.__kwdefaults__["seconds"] = 2
app.run()
"""
EMBED = ("embed", "rows.jsonl", "-m", golden.MODEL, "--dtype", "float32", "--part-rows", "2")


def decoder(work: Path, body: str) -> dict[str, str]:
    """The environment in which `body` stands in for the library that looks into a video first."""
    folder = work / "decoder"
    folder.mkdir()
    (folder / "av.py").write_text(f"import os, resource, signal, time\n{body}\n", encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def embedded(warm: Warm, faulty: Runner, body: str, said: str) -> None:
    """`embed` says `said` of its clip, and then gives what a run that nothing happened to gives."""
    shutil.copy(CLIP, warm.work / "clip.mp4")
    warm.write("rows.jsonl", [{"text": "a"}, {"text": "b"}, {"video": "clip.mp4"}, {"text": "c"}])
    assert warm(*EMBED, "-o", "whole/").exit_code == 0
    run = faulty(*EMBED, "-o", "parts/", "--resume", env=decoder(warm.work, body))
    assert run.exit_code == 65
    assert run.stderr.decode() == f"vlm2vec: error: rows.jsonl line 3: video clip.mp4: {said}\n"
    assert [one.name for one in (warm.work / "parts").iterdir()] == ["part-000000.parquet"]
    assert warm(*EMBED, "-o", "parts/", "--resume").exit_code == 0
    assert contents(warm.work / "parts", "*") == contents(warm.work / "whole", "*")


@pytest.mark.parametrize("does", DOES)
def test_a_decoder_that_dies_is_an_error_of_its_clip(warm: Warm, tally: Tally, does: str) -> None:
    with tally.injected("media worker that dies, embed"):
        embedded(warm, warm, *DOES[does])


@pytest.mark.slow
def test_a_decoder_that_hangs_is_an_error_of_its_clip(warm: Warm, tally: Tally) -> None:
    with tally.injected("media worker that hangs, embed"):
        impatient = Runner(warm.work, (sys.executable, "-c", IMPATIENT))
        embedded(warm, impatient, HANG, "the video took more than 2 seconds to decode")


def test_a_decoder_that_dies_is_a_line_of_the_check(vlm2vec: Runner, tally: Tally) -> None:
    shutil.copy(CLIP, vlm2vec.work / "clip.mp4")
    with tally.injected("media worker that dies, prepare --check"):
        done = vlm2vec("prepare", "files", "clip.mp4", "--check", env=decoder(vlm2vec.work, CRASH))
        assert done.exit_code == 65
        assert "the video ended its decoder (signal 11)" in done.stdout.decode()


def test_a_decoder_that_dies_is_a_video_not_shown_in_a_report(vlm2vec: Runner, tally: Tally) -> None:
    shutil.copy(CLIP, vlm2vec.work / "clip.mp4")
    rows = query_rows("d", [1, 0], video=["clip.mp4"], media_root=str(vlm2vec.work))
    write_per_query(vlm2vec.work / "q.parquet", rows)
    vlm2vec.write("s.jsonl", [score_row("d", 0.5)])
    with tally.injected("media worker that dies, report"):
        asked = ("report", "s.jsonl", "--per-query", "q.parquet", "-o", "r.html")
        done = vlm2vec(*asked, env=decoder(vlm2vec.work, CRASH))
        assert done.exit_code == 0
        assert "cannot be shown: clip.mp4" in (vlm2vec.work / "r.html").read_text(encoding="utf-8")
