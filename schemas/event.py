"""event: one line of a training log."""

from typing import TypedDict

from vlm2vec_cli.schemas.base import Field, Kind


class Event(TypedDict, total=False):
    """A row of the kind event; further numbers stand beside these."""

    event: str
    step: int
    loss: float
    learning_rate: float


FIELDS = (
    Field("event", "string", "start, step, eval, checkpoint, end, or plan.", required=True),
    Field("step", "integer", "Steps done, from 1."),
    Field("loss", "number", "Loss of the step in nats."),
    Field("learning_rate", "number", "Learning rate of the step."),
)

EVENT = Kind("event", "One line of a training log.", FIELDS)
