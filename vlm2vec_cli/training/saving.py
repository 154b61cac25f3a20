"""What a run leaves behind: checkpoints to go on from, the best model, the last one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import generators
from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.training import card, checkpoint, folders
from vlm2vec_cli.training.objective import Temperature
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.stopping import Standing
from vlm2vec_cli.training.world import World

log = logging.getLogger(__name__)


class Saving:
    """The folder `out` of a run."""

    def __init__(
        self,
        out: Path,
        backbone: Backbone,
        adapter: Any | None,
        base: str,
        facts: Mapping[str, Any],
        options: TrainOptions,
        digest: str,
        optimizer: torch.optim.Optimizer,
        temperature: Temperature,
        standing: Standing,
        world: World,
    ) -> None:
        self._out, self._backbone, self._adapter, self._base = out, backbone, adapter, base
        self._options, self._digest, self._world = options, digest, world
        self._temperature, self._standing = temperature, standing
        self._parts: dict[str, Any] = {
            "optimizer": optimizer,
            "best": standing,
            "temperature": temperature,
        }
        self._optimizer = optimizer
        optimizer.register_load_state_dict_pre_hook(self._parted)
        recorded = options.recorded()
        self._facts = {**facts, "options": recorded, "data_digest": digest}
        # What a resumed run must have in common with the run it goes on with.
        more = {"model": base, "revision": facts.get("revision"), "adapter": facts.get("adapter")}
        more |= {"eval": standing.data, "num_processes": world.size}
        self._kept = {**recorded, **more, **asdict(backbone.limits)}

    def resumed(self, resume: str, allow_changed: Collection[str]) -> int:
        """The step to go on with, everything put back; 0 where there is nothing to go on from."""
        found = folders.find(self._out, resume)
        step = 0
        if found is not None:
            groups = [_settings(group) for group in self._optimizer.param_groups]
            step = checkpoint.load_state(
                found, self._digest, self._kept, self._parts, self._world.rank, allow_changed
            )
            for group, own in zip(self._optimizer.param_groups, groups, strict=True):
                group.update(own)  # the options of this run, where they were allowed to change
            checkpoint.load_weights(self._backbone.model, found, self._world.part)
            log.info("going on from %s", found)
        self._world.gather(None)  # nobody is still looking for a checkpoint
        if self._world.leads and (aside := folders.put_aside(self._out, step)):
            log.info("checkpoints of another run are put aside: %s", ", ".join(map(str, aside)))
        return step

    def save(self, step: int) -> Path:
        """A checkpoint after `step` steps; every process has to come here."""
        path = folders.path_of(self._out, step)
        random = self._world.gather(generators.random_state())
        states = {name: self._world.whole(part.state_dict()) for name, part in self._parts.items()}
        with self._whole_model():
            if self._world.leads:
                with folders.written_whole(path) as folder:
                    self._save_model(folder, step)
                    checkpoint.save_weights(self._backbone.model, folder)
                    checkpoint.save_state(folder, step, self._digest, self._kept, states, random)
        if self._world.leads:
            folders.prune(self._out, self._options.save_total_limit)
        self._world.gather(None)  # nobody leaves while the checkpoint is written
        return path

    def save_best(self, step: int) -> None:
        """The model as it is now is the best so far."""
        with self._whole_model():
            if self._world.leads:
                with folders.written_whole(self._best_folder) as folder:
                    self._save_model(folder, step)

    def publish(self, step: int) -> dict[str, Any]:
        """The model as it is now is the run's; returns what the end event says of both."""
        with self._whole_model(merge=self._options.merge):
            if self._world.leads:
                if self._options.merge and self._adapter is not None:
                    self._adapter.merge_and_unload()  # in place: the backbone's modules are plain ones again
                    self._adapter = None
                with folders.written_whole(self._out / "final") as folder:
                    self._save_model(folder, step)
        if self._world.leads:
            folders.publish(self._out / "final", self._out)
        found: dict[str, Any] = {"folder": str(self._out)}
        if self._standing.score is not None:
            found |= {"best_score": self._standing.score, "best_step": self._standing.step}
            found["best_folder"] = str(self._best_folder)
        return found

    def _whole_model(self, *, merge: bool = False) -> AbstractContextManager[None]:
        """An adapter alone is whole on every process anyway."""
        needed = merge or self._adapter is None
        return self._world.whole_model(self._backbone) if needed else nullcontext()

    def _parted(self, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        """A saved state of the optimizer with what this process has of its tensors."""
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        parted = {
            number: {
                name: self._world.part(value, parameters[number])
                if isinstance(value, torch.Tensor)
                else value
                for name, value in own.items()
            }
            for number, own in state["state"].items()
        }
        return {**state, "state": parted}

    @property
    def _best_folder(self) -> Path:
        return self._out / "best"

    def _save_model(self, folder: Path, step: int) -> None:
        facts = {**self._facts, "step": step}
        if learnt := self._temperature.values():
            facts["learnt_temperature"] = learnt
        facts |= self._standing.losses
        if evaluation := self._standing.evaluation():
            facts["evaluation"] = evaluation
        checkpoint.save_model(folder, self._backbone, self._adapter, self._base, facts)
        (folder / "README.md").write_text(card.text(self._base, facts, is_adapter=self._adapter is not None))


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}
