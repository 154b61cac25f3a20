"""The components that the README shows run and keep what their folders promise."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import golden
import readme
from vlm2vec_cli import plugins
from vlm2vec_cli.readers import Raw, References

CODE = [block.code for block in readme.BLOCKS if block.language == "python"]


def component(word: str) -> dict[str, Any]:
    """What the README's file with `word` in it defines."""
    (code,) = (one for one in CODE if word in one)
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(code, "README.md", "exec"), names)
    return names


def test_there_is_an_example_of_each_component() -> None:
    assert len(CODE) == len(plugins.WORDS)
    assert all(code.startswith('"""') and "Source:" in code for code in CODE)


def test_the_metric() -> None:
    from naive import judged

    shown = component("NEEDS_CUTOFF")
    cases = [(["a", "b", "c"], {"a": 1.0, "b": 1.0}), (["c", "a", "b"], {"a": 1.0, "b": 1.0})]
    assert list(shown["measure"](judged(cases, 3), 2)) == [1.0, 0.0]


def test_the_loss() -> None:
    import torch

    shown = component("def loss")
    query, target = torch.eye(2), torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    found = shown["loss"](
        query,
        target,
        positive_B=torch.tensor([0, 2]),
        allowed_BN=torch.ones(2, 3, dtype=bool),
        temperature=0.2,
    )
    assert found.tolist() == pytest.approx([0.1, 0.0])
    from vlm2vec_cli.losses import info_nce

    assert (
        inspect.signature(shown["loss"]).parameters.keys()
        == inspect.signature(info_nce.loss).parameters.keys()
    )


def test_the_reader(tmp_path: Path) -> None:
    shown = component("Found(")
    raw = Raw(tmp_path, References(tmp_path), lambda error: None)
    entry = {"name": "mine"}
    assert not shown["found"](entry, raw).media
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a.txt").write_text("a red apple")
    assert shown["found"](entry, raw).media
    (query,), (candidate,) = (list(shown["read"](entry, raw, side)) for side in ("query", "candidate"))
    assert list(query["relevant"]) == [candidate["id"]] == [candidate["image"]]


def test_the_backbone() -> None:
    import torch

    shown = component("MODEL_TYPES")
    ours = plugins.load("backbones", "qwen2_vl")
    assert list(inspect.signature(shown["load"]).parameters) == list(inspect.signature(ours.load).parameters)

    class Model:
        config, device = SimpleNamespace(hidden_size=2), "cpu"

        def __call__(self, ids: torch.Tensor) -> Any:
            return SimpleNamespace(last_hidden_state=torch.stack([ids, -ids], dim=-1).float())

    model = shown["TextOnly"](Model(), lambda text: {"input_ids": [len(text), 7]}, golden.LIMITS)
    encoded = model.encode({"text": "abc"}, Path(), None)
    assert encoded.ids.dtype == np.int64
    assert model.forward([encoded, encoded]).tolist() == [[7.0, -7.0]] * 2
