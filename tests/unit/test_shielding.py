"""Signals wait for the end of a write, not longer."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.streams import parquet_writer, sinks
from vlm2vec_cli.streams.shielding import shielded


class Asked(BaseException):
    """What a SIGTERM raises here."""


@pytest.fixture(autouse=True)
def _raises() -> Iterator[None]:
    def ask(number: int, frame: object) -> None:
        raise Asked

    # A shell lets what it starts in the background ignore SIGINT, and Python leaves that as it is.
    handlers = {signal.SIGTERM: ask, signal.SIGINT: signal.default_int_handler}
    before = {one: signal.signal(one, handler) for one, handler in handlers.items()}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, Asked), (signal.SIGINT, KeyboardInterrupt)])
def test_the_first_waits(number: signal.Signals, raised: type[BaseException]) -> None:
    handlers = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
    done = []

    def write() -> None:
        with shielded():
            signal.raise_signal(number)
            done.append("what came after it")

    with pytest.raises(raised):
        write()
    assert done
    assert [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)] == handlers


def test_the_second_does_not() -> None:
    done = []

    def write() -> None:
        with shielded():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            done.append("what came after it")

    with pytest.raises(Asked):
        write()
    assert not done


def test_nothing_happens_without_one_or_in_another_thread() -> None:
    def block() -> int:
        with shielded():
            return 1

    with ThreadPoolExecutor(1) as pool:
        assert (block(), pool.submit(block).result()) == (1, 1)


@pytest.mark.parametrize("moment", ["_flush", "close"])
def test_what_was_finished_is_a_file_that_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    real = getattr(pq.ParquetWriter, "write_batch" if moment == "_flush" else "close")

    def asked_then(*args: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        real(*args)

    monkeypatch.setattr(pq.ParquetWriter, "write_batch" if moment == "_flush" else "close", asked_then)
    monkeypatch.setattr(parquet_writer, "GROUP_ROWS", 2)
    rows = ({"id": str(number), "text": "a"} for number in range(5))
    with pytest.raises(Asked):
        sinks.write_rows(str(tmp_path / "rows.parquet"), "parquet", rows, ITEM)
    found = [path.name for path in tmp_path.iterdir()]
    assert found == ["rows.parquet.partial"]
    kept = pq.read_table(tmp_path / found[0])["id"].to_pylist()
    assert kept == ["0", "1"] if moment == "_flush" else ["0", "1", "2", "3", "4"]
