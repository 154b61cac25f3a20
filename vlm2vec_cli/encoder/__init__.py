"""A model by name, and contents to vectors: read ahead, packed, in order."""

from vlm2vec_cli.encoder.check import check
from vlm2vec_cli.encoder.devices import pick_device, pick_dtype
from vlm2vec_cli.encoder.encode import Encoder, Input, Output
from vlm2vec_cli.encoder.loading import TINY, load, make_tiny, texts_of

__all__ = [
    "TINY",
    "Encoder",
    "Input",
    "Output",
    "check",
    "load",
    "make_tiny",
    "pick_device",
    "pick_dtype",
    "texts_of",
]
