"""event: one line of a training log."""

from typing import TypedDict

from vlm2vec_cli.schemas.base import Field, Kind


class Event(TypedDict, total=False):
    """A row of the kind event; `event` says which of the others it has."""

    event: str
    step: int
    loss: float
    learning_rate: float


FIELDS = (
    Field("event", "string", "start, step, eval, checkpoint, end, or plan.", required=True),
    Field("step", "integer", "Of all but start and plan: steps done, from 1."),
    # start
    Field("pairs", "integer", "start, plan: pairs to train on."),
    Field("steps", "integer", "start, plan: steps of the whole run."),
    Field("first_step", "integer", "start: steps that a run before has done."),
    Field("trainable_parameters", "integer", "start, plan: numbers that are trained."),
    Field("parameters", "integer", "start, plan: numbers of the model, those that are trained among them."),
    Field("processes", "integer", "start: processes that train together."),
    # step
    Field("loss", "number", "step: loss in nats."),
    Field("learning_rate", "number", "step: learning rate."),
    Field("grad_norm", "number", "step: norm of the gradients before they are cut to --max-grad-norm."),
    Field("pairs_per_s", "number", "step: pairs a second."),
    Field("tokens_per_s", "integer", "step: tokens and 2 x 2 patch groups a second, equal contents once."),
    Field("waiting_share", "number", "step: share of its time in which the model waited for media."),
    Field("peak_memory_mb", "integer", "step: most memory so far, of the device or else of the process."),
    Field("dataset_loss", "values", "step: mean loss of each dataset's pairs, unweighted."),
    Field("temperature", "values", "step, with --learn-temperature: by dataset pattern, * for all others."),
    Field("rows_left_out", "integer", "step, with --on-error skip: rows so far that cannot be read."),
    # eval
    Field("score", "number", "eval: mean of the datasets' scores."),
    Field("dataset_score", "fractions", "eval: main score of each dataset."),
    Field("best", "flag", "eval: whether it is the best so far."),
    # checkpoint, end
    Field("folder", "string", "checkpoint, end: where the model is."),
    Field("best_score", "number", "end, with --eval: the best mean score."),
    Field("best_step", "integer", "end, with --eval: its step."),
    Field("best_folder", "string", "end, with --eval: where its model is."),
    # plan
    Field("datasets", "counts", "plan: rows of each dataset, and its share of the pairs that are drawn."),
    Field("epochs", "number", "plan: passes over the data."),
    Field("batch_size", "integer", "plan: pairs in one step."),
    Field("tokens_per_step", "integer", "plan: tokens and 2 x 2 patch groups in one step, an estimate."),
    Field("chunks_per_step", "integer", "plan: GradCache chunks in one step, an estimate."),
    Field("memory_mb", "integer", "plan: memory of the device, an estimate."),
    Field("seconds_per_step", "number", "plan: time of one step, an estimate."),
    Field("hours", "number", "plan: time of the run, an estimate."),
)

EVENT = Kind("event", "One line of a training log; each field says in which events it is.", FIELDS)
