"""Weights of a folder into a model, strictly; backbones whose model is one of transformers'."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import transformers
from transformers.utils import logging

from vlm2vec_cli import weights as files
from vlm2vec_cli.backbones import Limits
from vlm2vec_cli.backbones._packed import Packed
from vlm2vec_cli.errors import UnavailableError

if TYPE_CHECKING:
    from typing_extensions import Self


class OfTransformers(Packed):
    """A backbone on a model that transformers has; loaded from and saved in its published layout."""

    KIND: ClassVar[str]  # the class in transformers, with a language-model head
    TOWER: ClassVar[str]  # the name of its vision tower
    RAW_TOKENIZER: ClassVar[bool] = False  # see `load_tokenizer`

    def __init__(self, wrapper: Any, tokenizer: Any, limits: Limits, family: str) -> None:
        super().__init__(wrapper.model, self.TOWER, tokenizer, limits, family)
        self.wrapper = wrapper

    @classmethod
    def load(
        cls,
        weights: Path,
        tokenizer: Path,
        limits: Limits,
        *,
        family: str,
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> Self:
        """Loads full weights from a folder, strictly: a missing, foreign or misshapen tensor is an
        UnavailableError."""
        wrapper = _load(getattr(transformers, cls.KIND), weights, dtype)
        tokens = load_tokenizer(tokenizer, raw=cls.RAW_TOKENIZER)
        return cls(wrapper.to(device), tokens, limits, family)

    def save(self, folder: Path, *, dtype: torch.dtype | None = None) -> None:
        """Full weights, tokenizer and processor files in the family's published layout."""
        logging.disable_progress_bar()
        state = {name: tensor.to(dtype or tensor.dtype) for name, tensor in self.wrapper.state_dict().items()}
        self.wrapper.save_pretrained(folder, state_dict=state)
        self.save_processor(folder)


def _load(kind: Any, weights: Path, dtype: torch.dtype) -> Any:
    """The model of class `kind` in a folder, on the CPU, for inference.

    A missing, foreign, misshapen or cut-off tensor is an UnavailableError.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    files.check(weights)
    try:
        with _without_adapter(weights) as plain:
            wrapper, info = kind.from_pretrained(
                plain, dtype=dtype, output_loading_info=True, local_files_only=True
            )
    except Exception as error:  # each library has types of its own for a damaged or missing file
        raise UnavailableError(f"cannot be loaded: {_first_line(error)}", place=str(weights)) from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        files.refuse(what.replace("_", " "), map(str, info[what]), weights)
    return wrapper.eval()


def assign(
    model: torch.nn.Module,
    weights: Path,
    inner: Callable[[str], str],
    outer: Callable[[str], str],
    dtype: torch.dtype,
    unused: tuple[str, ...],
) -> dict[str, torch.Tensor]:
    """Gives each parameter of `model` its tensor of the folder; returns the tensors named in `unused`.

    `inner` makes a parameter's name of a file's, `outer` the reverse. Two names of one parameter are fine
    where their tensors are equal. Any other difference is an UnavailableError.
    """
    wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
    state: dict[str, torch.Tensor] = {}
    left: dict[str, torch.Tensor] = {}
    foreign, misshapen = [], []
    for name, stored in files.read(weights):
        ours, tensor = inner(name), stored.to(dtype)
        if name.endswith(unused):
            left[name] = tensor
        elif ours not in wanted:
            foreign.append(name)
        elif wanted[ours] != tensor.shape:
            misshapen.append(name)
        elif ours in state and not torch.equal(state[ours], tensor):
            raise UnavailableError(f"{name} differs from the tensor it is to share", place=str(weights))
        else:
            state[ours] = tensor
    files.refuse("missing keys", map(outer, wanted.keys() - state.keys()), weights)
    files.refuse("unexpected keys", foreign, weights)
    files.refuse("mismatched keys", misshapen, weights)
    model.load_state_dict(state, strict=True, assign=True)
    return left


def load_tokenizer(folder: Path, *, raw: bool = False) -> Any:
    """The tokenizer of a folder; `raw` takes tokenizer.json as it is, whatever class the folder names."""
    kind = transformers.PreTrainedTokenizerFast if raw else transformers.AutoTokenizer
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise UnavailableError(
            f"tokenizer cannot be loaded: {_first_line(error)}", place=str(folder)
        ) from error


@contextlib.contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """`folder`, or a folder of links to its files without those of a spare adapter: transformers would put it
    on top of weights that already hold it."""
    if not (folder / "adapter_config.json").is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory() as links:
        for path in folder.iterdir():
            if path.is_file() and not path.name.startswith("adapter_"):
                Path(links, path.name).symlink_to(path.resolve())
        yield Path(links)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
