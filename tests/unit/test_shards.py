"""Which rows are this process's: options, Slurm arrays, launchers."""

import pytest

from vlm2vec_cli import shards
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.shards import Shard


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_as_written() -> None:
    assert shards.find(None) == Shard(0, 1)
    assert shards.find("2/4") == Shard(1, 4)
    assert shards.find("2/4").name == "2-of-4"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0"])
def test_shards_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match=f"expected I/N or auto, got '{text}'"):
        shards.find(text)


def test_auto_needs_something_to_go_by() -> None:
    with pytest.raises(UsageError, match="no Slurm array"):
        shards.find("auto")


def test_a_slurm_array_with_a_first_number_and_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SLURM_ARRAY_TASK_ID="9", SLURM_ARRAY_TASK_COUNT="4", SLURM_ARRAY_TASK_MIN="5",
          SLURM_ARRAY_TASK_STEP="2")  # fmt: skip
    assert shards.find("auto") == Shard(2, 4)
    assert shards.find(None) == Shard(0, 1), "an array may be for other things"


def test_a_slurm_array_with_gaps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_MIN="1",
          SLURM_ARRAY_TASK_MAX="5", SLURM_ARRAY_TASK_STEP="1")  # fmt: skip
    with pytest.raises(UsageError, match="have gaps"):
        shards.find("auto")


def test_processes_of_a_launcher_divide_each_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, RANK="1", WORLD_SIZE="3")
    assert shards.find(None) == shards.find("auto") == Shard(1, 3)
    assert shards.find("2/4") == Shard(4, 12)


def test_tasks_of_srun(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, SLURM_NTASKS="2", SLURM_PROCID="1")
    assert shards.find(None) == Shard(0, 1), "a batch script alone is no task of a step"
    given(monkeypatch, SLURM_STEP_ID="0")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "to be removed")
        monkeypatch.delenv(name)
    assert shards.find(None) == Shard(1, 2)


def test_all_processes_together_make_every_part_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for rank in range(3):
        given(monkeypatch, RANK=str(rank), WORLD_SIZE="3")
        found += [shards.find(f"{one}/4") for one in range(1, 5)]
    assert sorted(one.index for one in found) == list(range(12))
    assert {one.count for one in found} == {12}
