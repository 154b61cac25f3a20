"""The processes of a run: who one is among them, and the few things they tell each other.

One process is the ordinary case, in which nothing is sent. Numbers that the model makes go through
accelerate's process group (NCCL, gloo, ...), Python objects through a gloo group beside it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from vlm2vec_cli import launch
from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.errors import UnavailableError, UsageError, UserError
from vlm2vec_cli.grad_cache import Gathered
from vlm2vec_cli.training.options import TrainOptions

Thing = TypeVar("Thing")

log = logging.getLogger(__name__)

_GONE = UnavailableError.exit_code
_BUCKET = 1 << 25  # numbers that are summed in one go


class World:
    """The process of number `rank` among `size`."""

    def __init__(self) -> None:
        self.rank, self.size = 0, 1
        self.device: torch.device | None = None
        self.loading: torch.device | None = None  # where the model is put first, if not there
        self.ended = False  # the processes no longer speak with each other

    @property
    def leads(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def gather(self, thing: Thing) -> list[Thing]:
        """What every process gave, in the order of their ranks."""
        return [thing]

    def gather_rows(self, rows_ND: Tensor) -> Gathered:
        """The rows of every process, in the order of their ranks; each may have any number."""
        return Gathered(rows_ND)

    def shard(self, backbone: Backbone, options: TrainOptions) -> Backbone:
        """The backbone to train; where processes share a model, this one keeps its part from here on."""
        return backbone

    def in_step(self, chunks: Iterable[list[Thing]]) -> Iterable[list[Thing]]:
        """The chunks to pass through the model, with empty ones behind them while others need passes."""
        return chunks

    def keep_pace(self) -> None:
        """Goes through passes that others need after one's own of an evaluation."""

    def whole(self, state: Thing) -> Thing:
        """`state` with whole tensors, on the leading process; every process has to come here."""
        return state

    def whole_model(self, backbone: Backbone) -> AbstractContextManager[None]:
        """Inside, the leading process has the whole model; every process has to come here."""
        return nullcontext()

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        """What this process has of a tensor that goes where `like` is."""
        return whole

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Makes every parameter's gradient the sum over processes; one that none has stays absent, and its
        parameter as it is."""

    def clip_gradients(self, parameters: Iterable[torch.nn.Parameter], most: float) -> float:
        """Scales the gradients down to a norm of `most`; returns the norm that they had."""
        return float(torch.nn.utils.clip_grad_norm_(parameters, most))

    def close(self) -> None:
        """The run is over, and well."""

    def raise_together(self, error: Exception | None) -> None:
        """Raises on all processes when one has an error, the first of them; others leave without a word."""
        if error is not None:
            raise error


ALONE = World()


class Several(World):
    """One process of several."""

    def __init__(self, *, cpu: bool) -> None:
        from accelerate import PartialState

        super().__init__()
        try:
            state = PartialState(cpu=cpu)
        except (ValueError, RuntimeError) as error:
            raise UnavailableError(
                f"the processes do not find each other: {str(error).splitlines()[0]}",
                hint="check MASTER_ADDR and MASTER_PORT",
            ) from error
        self.rank, self.size, self.device = state.process_index, state.num_processes, state.device
        self._objects = distributed.new_group(backend="gloo")

    def gather(self, thing: Thing) -> list[Thing]:
        """See World."""
        found: list[Any] = [None] * self.size
        with self._exchange():
            distributed.all_gather_object(found, thing, group=self._objects)
        return found

    def gather_rows(self, rows_ND: Tensor) -> Gathered:
        """See World."""
        shapes = self.gather(tuple(rows_ND.shape))
        numbers = [shape[0] for shape in shapes]
        padded = torch.zeros(max(numbers), max(shape[1] for shape in shapes), device=self.device)
        padded[: len(rows_ND), : rows_ND.shape[1]] = rows_ND
        found = [torch.empty_like(padded) for _ in numbers]
        with self._exchange():
            distributed.all_gather(found, padded)
        rows = torch.cat([part[:number] for part, number in zip(found, numbers, strict=True)])
        return Gathered(rows, sum(numbers[: self.rank]))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """See World. A gradient that some processes do not have counts as zero there."""
        own = list(parameters)
        having = self.gather([parameter.grad is not None for parameter in own])
        bucket: list[Tensor] = []
        for parameter, *anywhere in zip(own, *having, strict=True):
            if not any(anywhere):
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            if sum(one.numel() for one in bucket) >= _BUCKET:
                self._sum(bucket)
                bucket = []
        if bucket:
            self._sum(bucket)

    def raise_together(self, error: Exception | None) -> None:
        """See World."""
        if self.ended and error is not None:
            raise error
        told = error if error is None or isinstance(error, UserError) else _Told(repr(error))
        first = next(((rank, one) for rank, one in enumerate(self.gather(told)) if one is not None), None)
        if first is None:
            return
        self.ended = True
        rank, found = first
        if not self.leads:
            if isinstance(error, Exception) and not isinstance(error, UserError):
                raise error  # a bug is shown where it is
            raise SystemExit(getattr(found, "exit_code", _GONE))
        if rank == self.rank and error is not None:
            raise error
        if isinstance(found, UserError):
            raise found
        raise UnavailableError(f"process {rank} of {self.size} failed: {found}")

    def close(self) -> None:
        """See World."""
        distributed.destroy_process_group()

    def _sum(self, gradients: list[Tensor]) -> None:
        flat = torch.cat([one.flatten().float() for one in gradients])
        with self._exchange():
            distributed.all_reduce(flat)
        for one, part in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
            one.copy_(part.view_as(one))

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """What fails in here fails because another process has gone, which is no bug of this one."""
        try:
            yield
        except RuntimeError as error:
            self.ended = True
            log.debug("exchange failed: %s", error)
            if not self.leads:
                raise SystemExit(_GONE) from error
            raise UnavailableError(
                "another process of the run has ended", hint="what it said last says why"
            ) from error


class _Told(Exception):
    """An error that may not travel as it is."""

    def __str__(self) -> str:
        return str(self.args[0])


def join(device: str) -> World:
    """The world that the environment describes, as torchrun, accelerate and we ourselves set it.

    Raises UsageError for a way of accelerate that is not possible.
    """
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        # accelerate would leave these to an Accelerator.prepare, which nobody calls here.
        if _asked(name):
            raise UsageError(
                f"the accelerate config asks for {name}: not possible",
                hint="distributed_type: FSDP with fsdp_version: 2 shards the model, MULTI_GPU does not",
            )
    cpu = device == "cpu" or not torch.accelerator.is_available()
    if _asked("FSDP"):
        from vlm2vec_cli.training import sharded

        sharded.check()
        return sharded.Sharded(cpu=cpu) if launch.is_member() else ALONE
    return Several(cpu=cpu) if launch.is_member() else ALONE


def _asked(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "").lower() in ("true", "1")
