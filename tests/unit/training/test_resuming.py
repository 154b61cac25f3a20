"""What a run takes over from a checkpoint, what it may not, and what it saves when something fails."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pairs import SMALL, events, same, steps, texts
from vlm2vec_cli.backbones.qwen2_vl import Qwen2VL
from vlm2vec_cli.errors import DataError, StoppedError, UsageError, UserError
from vlm2vec_cli.training import folders, saving

ONE = replace(SMALL, max_steps=2, save_steps=1)


class Scores:
    """An evaluation that gives one score after the other, or raises."""

    def __init__(self, *scores: float | UserError, digest: str = "d") -> None:
        self._scores, self.digest = iter(scores), digest

    def __call__(self, *_: Any) -> dict[str, float]:
        score = next(self._scores)
        if isinstance(score, UserError):
            raise score
        return {"a": score}


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in found]


def until(running: Iterator[dict[str, Any]], error: type[Exception], *, stop: int | None = None) -> list[Any]:
    """The events of a run that ends with `error`; it is asked to stop when step `stop` is done."""
    seen: list[Any] = []
    try:
        for event in running:
            seen.append(event)
            if event["event"] == "step" and event["step"] == stop:
                os.kill(os.getpid(), signal.SIGTERM)
    except error as raised:
        seen.append(raised)
    assert isinstance(seen[-1], error)
    return seen


# ---------------------------------------------------------------------------------------------- which one


@pytest.mark.parametrize("start", [0, 1])
def test_checkpoints_of_a_longer_run_before_do_not_come_back(
    tmp_path: Path, start: int, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    steps(texts(4), run, replace(ONE, max_steps=4))
    caplog.set_level("INFO")
    resume = "none" if start == 0 else str(run / "checkpoint-1")
    limit = replace(ONE, max_steps=3, save_total_limit=1, learning_rate=1e-4)
    allowed = ("learning_rate",) if start else ()
    running = events(texts(4), run, limit, resume=resume, allow_changed=allowed)
    *_, error = until(running, StoppedError, stop=start + 1)
    assert error.hint == "run the same command with --resume auto to go on"
    assert folders.find(run, "auto") == run / f"checkpoint-{start + 1}"
    aside = [run / f"checkpoint-{step}.old" for step in range(start + 1, 4)]
    assert all(path.is_dir() for path in aside)
    assert f"checkpoints of another run are put aside: {', '.join(map(str, aside))}" in caplog.text
    assert [event["step"] for event in steps(texts(4), run, limit)] == [*range(start + 2, 4)]


# -------------------------------------------------------------------------------------- what may have changed


@pytest.mark.parametrize(
    "change",
    [{"weight_decay": 50.0}, {"adam_beta1": 0.1}, {"adam_beta2": 0.1}],
    ids=lambda one: next(iter(one)),
)
def test_an_option_of_the_optimizer_that_may_change_does(tmp_path: Path, change: dict[str, float]) -> None:
    steps(texts(4), tmp_path / "old", ONE)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    steps(texts(4), tmp_path / "old", ONE)
    steps(texts(4), tmp_path / "new", replace(ONE, **change), allow_changed=tuple(change))
    assert not same(tmp_path / "old", tmp_path / "new")


@pytest.mark.parametrize("change", [{"full": True}, {"lora_r": 4}, {"optimizer": "adamw-8bit"}], ids=str)
def test_what_the_shape_of_the_trained_depends_on_cannot_change(
    tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps(texts(4), tmp_path, ONE)
    monkeypatch.setattr("vlm2vec_cli.training.optimizer.create", _adamw)
    with pytest.raises(UsageError) as raised:
        steps(texts(4), tmp_path, replace(ONE, **change), allow_changed=tuple(change))
    (name,) = change
    assert raised.value.fact == (
        f"the run in {tmp_path / 'checkpoint-1'} cannot go on with other values of: {name}"
    )
    assert raised.value.hint == "--resume none starts anew"


def _adamw(model: torch.nn.Module, *_: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(one for one in model.parameters() if one.requires_grad)


def test_a_checkpoint_that_lacks_a_weight_is_named(tmp_path: Path) -> None:
    steps(texts(4), tmp_path, ONE)
    path = tmp_path / "checkpoint-1" / "trainable.pt"
    state = torch.load(path, weights_only=True)
    name = sorted(state)[0]
    del state[name]
    torch.save(state, path)
    with pytest.raises(DataError) as raised:
        steps(texts(4), tmp_path, ONE)
    assert (raised.value.place, raised.value.hint) == (str(path), "--resume with another one, or none")
    assert raised.value.fact == (
        f"the checkpoint does not fit this run: its {name} is missing or of another shape"
    )


def test_options_that_a_checkpoint_does_not_know_had_their_defaults(tmp_path: Path) -> None:
    steps(texts(4), tmp_path, ONE)
    path = tmp_path / "checkpoint-1" / "training_state.pt"
    state = torch.load(path, weights_only=True)
    for name in ("loss", "adapter", "eval"):
        del state["options"][name]
    torch.save(state, path)
    assert [event["step"] for event in steps(texts(4), tmp_path, ONE)] == [2]
    with pytest.raises(UsageError, match=r"options differ from the run in .*: loss$"):
        steps(texts(4), tmp_path, replace(ONE, loss="symmetric_info_nce"))


def test_the_best_of_another_evaluation_does_not_count(tmp_path: Path) -> None:
    options = replace(ONE, eval_steps=1, max_steps=3)
    list(events(texts(4), tmp_path, options, evaluate=Scores(0.9, 0.8, 0.7)))
    other = Scores(0.4, 0.5, digest="e")
    with pytest.raises(UsageError, match=r"options differ from the run in .*: eval$"):
        list(events(texts(4), tmp_path, options, evaluate=other))
    *_, end = events(texts(4), tmp_path, options, evaluate=other, allow_changed=("eval",))
    assert (end["best_score"], end["best_step"]) == (0.5, 3)


# ------------------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize("step", [2, 3])
def test_an_evaluation_that_fails_loses_no_step(
    tmp_path: Path, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    options = replace(SMALL, max_steps=3, eval_steps=2)
    bad = Scores(*[0.5] * (step - 2), DataError("all vectors are equal"))
    *seen, error = until(events(texts(4), tmp_path / "cut", options, evaluate=bad), DataError)
    assert error.fact == "all vectors are equal"
    saved = tmp_path / "cut" / f"checkpoint-{step}"
    assert seen[-1] == {"event": "checkpoint", "step": step, "folder": str(saved)}
    assert caplog.messages[-1] == f"the evaluation after step {step} failed; {saved} is saved"
    rest = list(events(texts(4), tmp_path / "cut", options, evaluate=Scores(0.6, 0.7)))
    assert kinds(rest) == ["start", *["eval", "step"] * (3 - step), "eval", "end"]
    list(events(texts(4), tmp_path / "whole", options, evaluate=Scores(0.6, 0.7)))
    assert same(tmp_path / "cut", tmp_path / "whole")


def test_a_run_that_has_had_enough_does_not_go_on(tmp_path: Path) -> None:
    """The signal comes before the evaluation that would have ended the run."""
    options = replace(SMALL, max_steps=5, eval_steps=1, early_stopping=1)
    whole = list(events(texts(4), tmp_path / "whole", options, evaluate=Scores(0.5, 0.5)))
    until(events(texts(4), tmp_path / "cut", options, evaluate=Scores(0.5)), StoppedError, stop=2)
    rest = list(events(texts(4), tmp_path / "cut", options, evaluate=Scores(0.5)))
    assert kinds(rest) == ["start", "eval", "end"]
    assert rest[-1]["step"] == whole[-1]["step"] == 2
    assert same(tmp_path / "cut", tmp_path / "whole")


def test_a_signal_while_the_model_is_written_is_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = saving.Saving.publish

    def slowly(self: saving.Saving, step: int) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return publish(self, step)

    monkeypatch.setattr(saving.Saving, "publish", slowly)
    assert kinds(list(events(texts(4), tmp_path, replace(SMALL, max_steps=1)))) == ["start", "step", "end"]
    assert (tmp_path / "vlm2vec.json").exists()


def test_what_is_not_finite_is_named_and_the_checkpoint_before_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row's text makes nan from the third step on."""
    rows = [*texts(4), {"query": {"text": "a text longer than any other of them"}, "positive": {"text": "x"}}]
    options = replace(SMALL, max_steps=4, batch_size=5, lora_dropout=0.0, save_steps=1)
    forward = Qwen2VL.forward
    seen = 0

    def broken(self: Qwen2VL, batch: Any) -> torch.Tensor:
        nonlocal seen
        state_ND = forward(self, batch)
        longest = max(range(len(batch)), key=lambda at: batch[at].num_tokens)
        if batch[longest].num_tokens > 8:
            seen += torch.is_grad_enabled()
            if seen > 2:
                state_ND = state_ND.clone()
                state_ND[longest] = float("nan")
        return state_ND

    with monkeypatch.context() as patched:
        patched.setattr(Qwen2VL, "forward", broken)
        *_, error = until(events(rows, tmp_path / "cut", options), DataError)
    assert (error.fact, error.place) == ("loss is nan at step 3", "pairs.jsonl line 5")
    assert folders.find(tmp_path / "cut", "auto") == tmp_path / "cut" / "checkpoint-2"
    assert [event["step"] for event in steps(rows, tmp_path / "cut", options)] == [3, 4]
    steps(rows, tmp_path / "whole", options)
    assert same(tmp_path / "cut", tmp_path / "whole")
