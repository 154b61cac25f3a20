"""A run as the command line describes it."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlm2vec_cli import adapters, backbones, checkpoints, encoder
from vlm2vec_cli.backbones import Backbone, Limits
from vlm2vec_cli.engine.pixels import PATCH
from vlm2vec_cli.errors import DataError, UsageError, UserError
from vlm2vec_cli.media import MediaReader
from vlm2vec_cli.schemas.base import Record
from vlm2vec_cli.training import loop, plan, tracking, weights
from vlm2vec_cli.training.given import options_of, precision
from vlm2vec_cli.training.objective import Objective
from vlm2vec_cli.training.options import LORA_TARGETS, TrainOptions
from vlm2vec_cli.training.pairs import Pairs
from vlm2vec_cli.training.world import join

log = logging.getLogger(__name__)

Event = dict[str, Any]


def run(
    records: Iterable[Record],
    given: Mapping[str, Any],
    media: MediaReader,
    *,
    evaluation: Callable[[], loop.Evaluate | None] = lambda: None,
    reject: Callable[[UserError], None],
) -> Iterator[Event]:
    """Yields the events of the run whose options `given` holds by name, or with `dry_run` its plan.

    `evaluation` reads what is evaluated on.
    """
    if not given["output"] and not given["dry_run"]:
        raise UsageError("a checkpoint folder is needed", hint="-o DIR")
    if given["output"] and Path(given["output"]).is_file():
        raise UsageError(f"-o {given['output']}: a file, not a folder")
    if given["eval_steps"] and not given["eval_file"]:
        raise UsageError("--eval-steps needs --eval FILE")
    tracking.check(given["report_to"])
    tiny = given["model"] == encoder.TINY
    if tiny and given["lora"]:
        raise UsageError("tiny has no base that an adapter could be put on", hint="leave --lora out")
    full = tiny if given["lora"] is None else not given["lora"]
    options = options_of(given, full)
    Objective(options)  # an unknown name is said before anything is read
    evaluate = evaluation()
    most = (*options.dataset_rows, ("*", options.rows_per_dataset or math.inf))
    pairs = Pairs(records, per_dataset=most, reject=reject)
    _check_contrast(pairs, options)
    weights.sampler_of(pairs, options)
    if pairs.mined is not None and not (options.homogeneous or options.homogeneous_modality):
        log.warning("the rows' `batch` counts only with --homogeneous N")
    with tempfile.TemporaryDirectory() as folder:
        # Made before the processes know each other: then each has its own, later only the first one saves.
        name = encoder.make_tiny(Path(folder), pairs.texts(), options.seed) if tiny else given["model"]
        world = join(given["device"])
        device = world.device or encoder.pick_device(given["device"])
        options = replace(options, precision=world.gather(precision(options.precision, device))[0])
        found = checkpoints.find(name, adapter=given["adapter"], revision=given["revision"])
        targets = options.lora_targets or backbones.LORA_TARGETS.get(found.model_type, LORA_TARGETS)
        options = replace(options, lora_targets=targets)
        backbone, adapter = _model(found, given, options, world.loading or device)
        if adapter is not None and found.adapter:
            options = _as_it_is(options, adapter, bool(given["lora_targets"]), said=world.leads)
    if not given["dry_run"]:
        backbone = world.shard(backbone, options)
    base = found.meta.get("base_model", found.base) if full else found.base
    facts = {
        "base_model": base,
        "revision": found.revision,
        "prompt_family": found.meta.get("prompt_family", "vlm2vec-v2"),
        "dataset_counts": _counts(pairs),
    }
    if adapter is not None and found.adapter:
        facts["adapter"] = str(found.adapter)
    parts = (pairs, backbone, adapter, media, options, Path(given["output"]))
    if given["dry_run"]:
        yield plan.plan(loop.Run(*parts, base, facts, workers=given["workers"] or 4))
        return
    events = loop.train(
        *parts, base=base, facts=facts, resume=given["resume"], allow_changed=given["allow_changed"] or (),
        workers=4 if given["workers"] is None else given["workers"],
        world=world, evaluate=evaluate, reject=reject,
    )  # fmt: skip
    yield from tracking.reported(events, given["report_to"], Path(given["output"]), options, world)
    world.close()


def follow(events: Iterator[Event]) -> None:
    """Goes through the run on a process that writes nothing; its errors are those of the leading one."""
    try:
        for _ in events:
            pass
    except UserError as error:
        log.debug("left because of: %s", error)
        raise SystemExit(error.exit_code) from error


def _model(
    found: checkpoints.Checkpoint, given: Mapping[str, Any], options: TrainOptions, device: torch.device
) -> tuple[Backbone, Any | None]:
    """The backbone with what is trained of it, and the adapter if there is one."""
    names = ("min_pixels", "max_pixels", "num_frames", "max_length")
    limits: Limits = found.limits(**{key: given[key] for key in names})
    # Trained weights stay in float32 under autocast; a frozen base may be stored in half the bytes.
    frozen = torch.bfloat16 if options.precision == "bf16" and not options.full else torch.float32
    if options.full:
        backbone = checkpoints.load(found, limits, dtype=torch.float32, device=device)
        _check(backbone, found.model_type, options)
        _train_all(backbone, options.vision)
        return backbone, None
    backbone = checkpoints.load_base(found, limits, dtype=frozen, device=device)
    _check(backbone, found.model_type, options)
    if found.adapter:
        return backbone, adapters.attach(backbone.model, found.adapter, trainable=True)
    made = adapters.create(
        backbone.model, r=options.lora_r, alpha=options.lora_alpha, dropout=options.lora_dropout,
        targets=options.lora_targets, dora=options.dora, seed=options.seed, vision=options.vision,
    )  # fmt: skip
    return backbone, made


def _as_it_is(options: TrainOptions, adapter: Any, named_targets: bool, *, said: bool) -> TrainOptions:
    """The options with those of the adapter that is trained further; a warning names others that were asked
    for."""
    config = adapter.peft_config["default"]
    targets = config.target_modules  # names, or one pattern of them
    own: dict[str, Any] = {
        "lora_r": config.r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "lora_targets": (targets,) if isinstance(targets, str) else tuple(sorted(targets)),
        "dora": config.use_dora,
    }
    asked = {name: getattr(options, name) for name in own}
    asked["lora_targets"] = tuple(sorted(adapters.target_modules(options.lora_targets)))
    usual = {name: getattr(TrainOptions(), name) for name in own}
    if not named_targets:
        usual["lora_targets"] = asked["lora_targets"]
    for name, value in own.items():
        if said and asked[name] not in (value, usual[name]):
            words = ", ".join(value) if isinstance(value, tuple) else value
            log.warning("--%s: the adapter keeps its own, %s", name.replace("_", "-"), words)
    return replace(options, **own)


def _check_contrast(pairs: Pairs, options: TrainOptions) -> None:
    """Raises DataError where no step has anything that a positive could be told from."""
    least, most = min(len(pairs), options.batch_size), options.num_hard_negatives
    if least > 1 or options.max_steps == 0 or any(one.negatives[:most] for one in pairs):
        return
    if len(pairs) > 1:
        raise UsageError(
            "--batch-size 1 needs rows with negatives", hint="a pair alone has nothing to differ from"
        )
    raise DataError(
        "one pair without negatives: nothing to tell its positive from", place=pairs[0].query.place
    )


def _check(backbone: Backbone, kind: str, options: TrainOptions) -> None:
    """Raises UsageError for what this backbone's vision tower cannot be trained with."""
    # A backbone with tiles, or without pictures, has no PATCH.
    if options.augment != "none" and getattr(backbone, "PATCH", None) != PATCH:
        raise UsageError(
            f"--augment {options.augment}: not for {kind}, which does not see pictures in patches of"
            f" {PATCH} pixels",
            hint="leave --augment out",
        )
    usual = "trained" if options.full else "frozen"
    if options.vision != usual and not hasattr(backbone.model, "visual"):
        raise UsageError(
            f"--vision {options.vision}: not for {kind}; only Qwen-VL's tower can be told apart",
            hint=f"{usual}, the default, is possible",
        )


def _train_all(backbone: Backbone, vision: str) -> None:
    backbone.model.requires_grad_(True)
    if vision != "trained":
        backbone.model.visual.requires_grad_(False)
    for name in adapters.vision_parts(backbone.model, vision):
        backbone.model.get_submodule(name).requires_grad_(True)


def _counts(pairs: Pairs) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in pairs.datasets:
        counts[name] = counts.get(name, 0) + 1
    return counts
