"""The fault suite: what clusters, disks, people and files do to a run, and that nothing is lost by it.

    pytest tests/faults                                    a few seconds of it, within the default suite
    pytest tests/faults -m slow                            about a minute more, within the slow suite
    FAULTS=full pytest tests/faults -m "slow or not slow"  20 kills of each command, 50,000 fuzzed inputs

Run in one process, pytest prints the table of what was injected and what came of it. Survived: the run said
what was wrong in one line, or nothing, and the same command afterwards gave the bytes of a run that nothing
happened to.

Measured on 2026-12-01 on two cores of x86-64: kills and surroundings with FAULTS=full, media workers as in
the slow suite, shared with other work; the inputs with FAULTS=full in one run of 15 minutes. Earlier ones
found an error of 2,570 characters that quoted an archive's damaged header, a number beyond float32 that numpy
warned of, and damaged Parquet and zip headers that raised what was no user's error. All end in one short line
now.

    fault                                          injected survived     lost
    SIGKILL, embed -o DIR/ --resume                      20       20        0
    SIGKILL, train                                       20       20        0
    SIGKILL, prepare -o FILE                             20       20        0
    SIGTERM and SIGINT, embed -o DIR/, train              4        4        0
    SIGPIPE                                               6        6        0
    closed or full standard stream                        5        5        0
    full disk, embed and train; full temporary folder     3        3        0
    read-only output                                      3        3        0
    vanished media, vanished input                        2        2        0
    clock: files of the past and the future, jumps        3        3        0
    two runs into one folder                              2        2        0
    media worker that dies, embed                         3        3        0
    media worker that hangs, embed                        1        1        0
    media worker that dies, prepare --check, report       2        2        0
    fuzz                                             inputs     read  refused
    rows                                              15000    11683     3317
    Parquet rows                                       3000       83     2917
    references                                        13000       38    12962
    archives                                           9000     1077     7923
    cells                                              2500      298     2202
    pictures                                           6000     1611     4389
    documents                                          1500     1339      161
    clips                                              1500      569      931
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import Tally
from hostile import fill

TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Counts what was injected."""
    return TALLY


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the media root `root`, and beside it what nobody may see."""
    top = tmp_path_factory.mktemp("fuzz")
    root = top / "root"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))  # where indices of large archives are looked for
        fill(top, root)
        yield top


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if lines := TALLY.table():
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.line(line)
