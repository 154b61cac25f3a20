"""Processes that share one model (FSDP2): each keeps a part of all tensors, whole ones exist in passes alone.

Decoder layers are gathered one by one as a pass reaches them, all else of the model (embeddings, vision
tower, final norm) at its beginning. So processes have to make their passes together, and equally many: one
that has nothing left to encode goes through a pass of nothing. What an adapter trains is small: it stays
whole on every process, and its gradients are summed as without sharding. Of a model that is trained itself,
gradients and optimizer states are in parts, too; the sum over processes is made within each backward pass.

Source: Zhao et al. 2023, "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from vlm2vec_cli.backbones import Backbone, Encoded
from vlm2vec_cli.errors import UnavailableError, UsageError, UserError
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.world import Several

Item = TypeVar("Item")
State = TypeVar("State")

# What an accelerate config may ask for, by the variable that its launcher sets: the values that are possible,
# and what to do instead of others.
_SETTINGS = {
    "FSDP_VERSION": (("2",), "fsdp_version: 2"),
    "FSDP_RESHARD_AFTER_FORWARD": (("true", "full_shard"), "fsdp_reshard_after_forward: true"),
    "FSDP_OFFLOAD_PARAMS": (("false",), "fsdp_offload_params: false"),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        ("false",),
        "fsdp_activation_checkpointing: false, and train --gradient-checkpointing",
    ),
}
_NOTHING = Encoded(np.zeros(1, dtype=np.int64), (), np.empty(0, dtype=np.int64))


def check() -> None:
    """Raises UsageError where the accelerate config asks for FSDP in a way that is not possible."""
    for name, (possible, hint) in _SETTINGS.items():
        given = os.environ.get(name, "1" if name == "FSDP_VERSION" else possible[0])
        if given.lower() not in possible:
            raise UsageError(f"the accelerate config sets {name.lower()} to {given}: not possible", hint=hint)


class Sharded(Several):
    """One process of several that share a model; see World."""

    def __init__(self, *, cpu: bool) -> None:
        super().__init__(cpu=cpu)
        self.loading = torch.device("cpu")
        self._passes: _Passes | None = None

    def shard(self, backbone: Backbone, options: TrainOptions) -> Backbone:
        """See World. Raises UsageError for an optimizer that cannot take parts of tensors."""
        if options.full and options.optimizer != "adamw":
            raise UsageError(
                f"--optimizer {options.optimizer}: cannot train a sharded model", hint="adamw can, or --lora"
            )
        assert self.device is not None
        model: Any = backbone.model
        mesh = init_device_mesh(self.device.type, (self.size,))
        half = options.full and options.precision == "bf16"
        kinds = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32} if half else {}
        policy = MixedPrecisionPolicy(**kinds, cast_forward_inputs=False)
        whole = set() if options.full else {one for one in model.parameters() if one.requires_grad}
        for part in (*model.language_model.layers, model):
            fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=policy, ignored_params=whole)
        for part in model.modules():
            if isinstance(part, FSDPModule):  # a sum, made without factors, which gloo does not know
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)
        model.set_reduce_scatter_unused_params(True)  # no picture here, but perhaps on another process
        if hasattr(backbone, "wrapper"):
            backbone.wrapper.tie_weights()  # a head outside of what is sharded may be the embeddings
        for parameter in whole:
            parameter.data = parameter.data.to(self.device)
        self._passes = _Passes(backbone, self)
        return cast(Backbone, self._passes)

    def in_step(self, chunks: Iterable[list[Item]]) -> Iterator[list[Item]]:
        """See World."""
        own = iter(chunks)
        while True:
            chunk = next(own, None)
            if not self.somebody(chunk is not None):
                return
            yield chunk or []

    def keep_pace(self) -> None:
        """See World."""
        assert self._passes is not None
        with torch.no_grad():
            while self.somebody(False):
                self._passes.of_nothing()

    def somebody(self, does: bool) -> bool:
        """Whether any process says so; all have to ask, and those with an error raise it on all."""
        self.raise_together(None)
        return any(self.gather(does))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """See World; parts have their sum already, a sum of zeros where no process had a gradient."""
        super().sum_gradients(one for one in parameters if not isinstance(one, DTensor))
        assert self._passes is not None
        if not any(self.gather(self._passes.looked())):
            for name, parameter in self._passes.model.named_parameters():
                if isinstance(parameter, DTensor) and not name.startswith("language_model."):
                    parameter.grad = None  # only pictures pass through what is not the language model

    def clip_gradients(self, parameters: Iterable[torch.nn.Parameter], most: float) -> float:
        """See World."""
        with self._exchange():
            return super().clip_gradients(parameters, most)

    def raise_together(self, error: Exception | None) -> None:
        """See World. An error that comes out of a pass cannot be told to processes that are inside of one:
        they notice that this one ends."""
        if error is not None and not isinstance(error, UserError):
            with self._exchange():
                if _is_lost(error):
                    raise error
            self.ended = True
            raise error
        super().raise_together(error)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around a pass: after one that failed there cannot be another."""
        if self.ended:
            raise UnavailableError("out of memory in a pass of a sharded model", hint="--chunk-tokens, fewer")
        try:
            yield
        except Exception as error:
            self.raise_together(error)
            raise

    # ------------------------------------------------------------------------------- whole tensors and parts

    def whole(self, state: State) -> State:
        """See World."""
        if isinstance(state, DTensor):
            with self._exchange():
                full = state.full_tensor()
            return cast(State, full.cpu() if self.leads else state)
        if isinstance(state, dict):
            return cast(State, {key: self.whole(value) for key, value in state.items()})
        return state

    @contextmanager
    def whole_model(self, backbone: Backbone) -> Iterator[None]:
        """See World."""
        kept: list[tuple[dict[str, Any], str, torch.nn.Parameter]] = []
        made: dict[int, torch.nn.Parameter] = {}  # tensors that two modules share stay shared
        for module in getattr(backbone, "wrapper", backbone.model).modules():
            for name, parameter in module._parameters.items():
                if parameter is None:
                    continue
                if id(parameter) not in made:
                    full = self.whole(parameter.detach())
                    made[id(parameter)] = (
                        torch.nn.Parameter(full.cpu(), parameter.requires_grad) if self.leads else parameter
                    )
                kept.append((module._parameters, name, parameter))
        for parameters, name, parameter in kept:
            parameters[name] = made[id(parameter)]
        try:
            yield
        finally:
            for parameters, name, parameter in kept:
                parameters[name] = parameter
        self.gather(None)  # nobody leaves while the leading process has not all parts

    def part(self, whole: Tensor, like: Tensor) -> Tensor:
        """See World."""
        if not isinstance(like, DTensor) or whole.shape != like.shape:
            return whole
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


class _Passes:
    """A backbone whose passes all processes make together."""

    def __init__(self, backbone: Backbone, world: Sharded) -> None:
        self._backbone, self._world = backbone, world
        self._looked = False
        model: Any = backbone.model
        model.pooled = backbone.forward
        register_fsdp_forward_method(model, "pooled")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def forward(self, batch: Sequence[Encoded]) -> Tensor:
        """See Backbone; a batch of nothing gives (0, D), with a graph."""
        self._world.somebody(True)
        return self._pooled(batch) if batch else self.of_nothing()[:0]

    def looked(self) -> bool:
        """Whether a pass with a graph has shown the vision tower anything since this was asked last."""
        looked, self._looked = self._looked, False
        return looked

    def of_nothing(self) -> Tensor:
        """(1, D) that nobody wants, from a pass that others need."""
        return self._pooled([_NOTHING])

    def _pooled(self, batch: Sequence[Encoded]) -> Tensor:
        graph = torch.is_grad_enabled()
        self._looked |= graph and any(encoded.visuals for encoded in batch)
        # What is gathered under inference mode could not be trained with later.
        with self._world.passing(), torch.inference_mode(False), torch.set_grad_enabled(graph):
            pooled: Tensor = self.model.pooled(batch)
        return pooled


def _is_lost(error: Exception) -> bool:
    """Whether a collective failed because another process has gone."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()
