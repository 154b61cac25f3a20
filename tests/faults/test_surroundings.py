"""What surrounds a run goes wrong: streams, disks, folders, clocks, another run. A line, and nothing lost."""

import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import golden
import whole
from faults import Tally, contents, small_disk
from runner import Runner
from vlm2vec_cli import streams
from vlm2vec_cli.errors import UnavailableError
from warm import Warm

JUMPS = """
import random, sys, time
chance, real = random.Random(0), time.time
time.time = lambda: real() + chance.uniform(-4e7, 4e7)
time.time_ns = lambda: int(time.time() * 1e9)
from vlm2vec_cli import app
app.run()
"""


def error(stderr: bytes) -> str:
    """The first line of an error, the only one but for a hint."""
    first, *more = stderr.decode().splitlines()
    assert all(line.startswith("hint: ") for line in more), stderr
    return first.removeprefix("vlm2vec: error: ")


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [
        ("<&-", 66, "stdin: closed"),
        ("in.jsonl >&-", 2, "stdout is closed"),
        ("in.jsonl -o out.jsonl <&- >&- 2>&-", 0, None),
        ("no.jsonl -o out.jsonl 2>&-", 66, None),
        ("in.jsonl > /dev/full", 69, "No space left on device"),
    ],
)
def test_streams_that_are_closed_or_full(
    rows: Runner, tally: Tally, closed: str, code: int, said: str | None
) -> None:
    rows.write("in.jsonl", [{"text": "a"}])
    with tally.injected("closed or full standard stream"):
        command = f"exec {shlex.join(map(str, rows.program))} {closed}"
        run = subprocess.run(["bash", "-c", command], cwd=rows.work, env=rows.env(), capture_output=True)
        assert run.returncode == code, run.stderr
        assert run.stdout == b""
        assert (error(run.stderr) if run.stderr else None) == said
        if code == 0:
            assert (rows.work / "out.jsonl").read_bytes().count(b"\n") == 1


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(warm: Warm, tally: Tally) -> None:
    whole.write(warm, 12)
    expected, _ = whole.parts(warm)
    room = sum(map(len, expected.values())) // 2
    with small_disk(warm.work / "parts") as disk, tally.injected("full disk, embed -o DIR/"):
        (disk / "filler").write_bytes(b"x" * ((1024 << 10) - (room + 4095) // 4096 * 4096))
        run = warm(*whole.embed())
        assert run.exit_code == 69
        assert error(run.stderr).endswith("cannot be written: No space left on device")
        (disk / "filler").unlink()
        assert warm(*whole.embed()).exit_code == 0
        assert contents(disk, "*") == expected


@pytest.mark.slow
def test_a_checkpoint_on_a_full_disk_leaves_the_earlier_ones(warm: Warm, tally: Tally) -> None:
    whole.write(warm)
    expected, _ = whole.weights(warm, 4)
    with small_disk(warm.work / "run", 24 << 10) as disk, tally.injected("full disk, train"):
        assert warm(*whole.train(1)).exit_code == 0
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(b"x" * (free.f_bavail * free.f_bsize - (64 << 10)))
        run = warm(*whole.train(4))
        assert run.exit_code == 69
        assert error(run.stderr.partition(b"vlm2vec: error: ")[2]).find("cannot be written: ") > 0
        (disk / "filler").unlink()
        assert warm(*whole.train(4)).exit_code == 0
        assert (disk / whole.WEIGHTS).read_bytes() == expected


def test_a_full_temporary_folder_is_said(warm: Warm, tally: Tally) -> None:
    pairs = [{"query": {"text": f"{n} " + "x" * 4000}, "positive": {"text": str(n)}} for n in range(300)]
    warm.write("pairs.jsonl", pairs)
    with small_disk(warm.work / "disk", 64), tally.injected("full temporary folder"):
        run = warm(
            "train", "pairs.jsonl", "-m", golden.MODEL, "-o", "run", env={"TMPDIR": str(warm.work / "disk")}
        )
        assert run.exit_code == 69
        assert "No space left on device" in error(run.stderr)


def test_a_file_system_that_is_read_only_is_said_before_any_work(warm: Warm, tally: Tally) -> None:
    whole.write(warm, 2)
    with small_disk(warm.work / "disk") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        embed = ("embed", *whole.EMBED, "-o")
        for args, code in (((*embed, "disk/"), 2), ((*embed, "disk/a"), 2), (whole.train(2, "disk/run"), 69)):
            with tally.injected("read-only output"):
                run = warm(*args)
                assert (run.exit_code, run.stdout) == (code, b"")
                assert "disk" in error(run.stderr)


def test_media_and_inputs_that_vanish_are_named(warm: Warm, tally: Tally) -> None:
    whole.write(warm, 12)
    expected, _ = whole.parts(warm)
    images = warm.work / "images"
    args = [str(warm.work) if one == golden.ROOT else one for one in whole.embed()]
    with tally.injected("vanished media"):
        images.mkdir()
        for path in (golden.ROOT / "images").iterdir():
            (images / path.name).write_bytes(path.read_bytes())
        gone = images / "gray_200x150.png"
        gone.rename(images / "away")
        run = warm(*args)
        assert run.exit_code == 66
        assert error(run.stderr).startswith("rows.jsonl line 14: image images/gray_200x150.png: no such file")
        (images / "away").rename(gone)
        assert warm(*args).exit_code == 0
        assert contents(warm.work / "parts", "*") == expected
    with tally.injected("vanished input"):
        (warm.work / "rows.jsonl").unlink()
        run = warm(*args)
        assert (run.exit_code, error(run.stderr)) == (66, "rows.jsonl: no such file")


def test_times_of_files_mean_nothing_to_a_run_that_goes_on(warm: Warm, tally: Tally) -> None:
    whole.write(warm, 12)
    expected, _ = whole.parts(warm)
    assert warm(*whole.embed("--limit", "10")).exit_code == 0
    with tally.injected("clock: files of the past and the future"):
        for path, when in zip(sorted((warm.work / "parts").iterdir()), (0, 4e9), strict=True):
            os.utime(path, (when, when))
        os.utime(warm.work / "rows.jsonl", (4e9, 4e9))
        assert warm(*whole.embed()).exit_code == 0
        assert contents(warm.work / "parts", "*") == expected


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_byte(warm: Warm, tally: Tally) -> None:
    whole.write(warm, 12)
    jumping = Runner(warm.work, (sys.executable, "-c", JUMPS))
    found = []
    for run, out in ((warm, "steady"), (jumping, "jumping")):
        with tally.injected("clock that jumps"):
            assert run("embed", *whole.EMBED, "-o", f"{out}-parts/").exit_code == 0
            assert run(*whole.TRAIN, "-o", out, "--max-steps", "2").exit_code == 0
            weights = (warm.work / out / whole.WEIGHTS).read_bytes()
            found.append((contents(warm.work / f"{out}-parts", "*"), weights))
    assert found[0] == found[1]


def test_two_runs_into_one_folder_are_told_apart(warm: Warm, tally: Tally) -> None:
    whole.write(warm, 12)
    expected, _ = whole.parts(warm)
    parts = warm.work / "parts"
    parts.mkdir()
    with tally.injected("two runs, embed -o DIR/"):
        with streams.locked(parts) as lock:
            lock.hold(1, "another shard's part")
            run = warm(*whole.embed())
            assert run.exit_code == 69
            assert error(run.stderr) == "parts/part-000001.parquet: another run is writing this"
            assert contents(parts, "part-*") == {name: expected[name] for name in ("part-000000.parquet",)}
            assert warm(*whole.embed("--shard", "1/2")).exit_code == 0, "shards share a folder"
        assert warm(*whole.embed()).exit_code == 0
        assert contents(parts, "*") == expected, "the lock is gone"
    with tally.injected("two runs, train -o DIR"), streams.alone(warm.work / "run"):
        run = warm(*whole.train(1))
        assert (run.exit_code, error(run.stderr)) == (69, "run: another run is writing this")


def test_a_lock_is_held_by_one_and_ends_with_it(tmp_path: Path) -> None:
    """A child that is killed holding a byte leaves it free; one that ends cleanly leaves no file."""
    code = (
        "import sys, pathlib; from vlm2vec_cli import streams\n"
        "with streams.locked(pathlib.Path(sys.argv[1])) as lock:\n"
        "    lock.hold(3, 'p'); print('held', flush=True); sys.stdin.read()\n"
    )
    chance = random.Random(0)
    for kill in (True, False):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=-1, stdout=-1) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            assert child.stdout.readline() == b"held\n"
            with streams.locked(tmp_path) as lock:
                lock.hold(chance.choice((2, 4)), "its own")
                with pytest.raises(UnavailableError, match="another run"):
                    lock.hold(3, "p")
                child.kill() if kill else child.stdin.close()
                child.wait(30)
                lock.hold(3, "p")
            child.stdout.close()
    assert list(tmp_path.iterdir()) == []
