"""What a run leaves behind: checkpoints to go on from, the best model, the last one."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli.backbones import Backbone
from vlm2vec_cli.training import card, checkpoint
from vlm2vec_cli.training.objective import Temperature
from vlm2vec_cli.training.options import TrainOptions
from vlm2vec_cli.training.stopping import Best
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
        best: Best,
        world: World,
    ) -> None:
        self._out, self._backbone, self._adapter, self._base = out, backbone, adapter, base
        self._options, self._digest, self._world = options, digest, world
        self._temperature, self._best = temperature, best
        self._parts = {"optimizer": optimizer, "best": best, "temperature": temperature}
        recorded = options.recorded()
        self._facts = {**facts, "options": recorded, "data_digest": digest}
        # What a resumed run must have in common with the run it goes on with.
        more = {"model": base, "revision": facts.get("revision"), "num_processes": world.size}
        self._kept = {**recorded, **more, **asdict(backbone.limits)}

    def resumed(self, resume: str, allow_changed: Collection[str]) -> int:
        """The step to go on with, everything put back; 0 where there is nothing to go on from."""
        found = checkpoint.find(self._out, resume)
        if found is None:
            return 0
        step = checkpoint.load_state(
            found, self._digest, self._kept, self._parts, self._world.rank, allow_changed
        )
        checkpoint.load_weights(self._backbone.model, found)
        log.info("going on from %s", found)
        return step

    def save(self, step: int) -> Path:
        """A checkpoint after `step` steps; every process has to come here."""
        path = checkpoint.path_of(self._out, step)
        random = self._world.gather(checkpoint.random_state())
        if self._world.leads:
            with checkpoint.written_whole(path) as folder:
                self._save_model(folder, step)
                checkpoint.save_weights(self._backbone.model, folder)
                checkpoint.save_state(folder, step, self._digest, self._kept, self._parts, random)
            checkpoint.prune(self._out, self._options.save_total_limit)
        self._world.gather(None)  # nobody leaves while the checkpoint is written
        return path

    def save_best(self, step: int) -> None:
        """The model as it is now is the best so far."""
        if self._world.leads:
            with checkpoint.written_whole(self._best_folder) as folder:
                self._save_model(folder, step)

    def publish(self, step: int) -> dict[str, Any]:
        """The model as it is now is the run's; returns what the end event says of both."""
        if self._options.merge and self._adapter is not None:
            self._adapter.merge_and_unload()  # in place: the backbone's modules are plain ones again
            self._adapter = None
        if self._world.leads:
            with checkpoint.written_whole(self._out / "final") as folder:
                self._save_model(folder, step)
            checkpoint.publish(self._out / "final", self._out)
        found: dict[str, Any] = {"folder": str(self._out)}
        if self._best.score is not None:
            found |= {"best_score": self._best.score, "best_step": self._best.step}
            found["best_folder"] = str(self._best_folder)
        return found

    @property
    def _best_folder(self) -> Path:
        return self._out / "best"

    def _save_model(self, folder: Path, step: int) -> None:
        facts = {**self._facts, "step": step}
        if learnt := self._temperature.values():
            facts["learnt_temperature"] = learnt
        if self._best.score is not None:
            facts["evaluation"] = {"score": self._best.score, "step": self._best.step}
        checkpoint.save_model(folder, self._backbone, self._adapter, self._base, facts)
        (folder / "README.md").write_text(card.text(self._base, facts, is_adapter=self._adapter is not None))
