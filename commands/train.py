"""`vlm2vec train`: pairs to a checkpoint."""

import sys

from typer import Exit

from vlm2vec_cli import launch, options, progress, streams
from vlm2vec_cli.schemas.event import EVENT
from vlm2vec_cli.schemas.item import ITEM
from vlm2vec_cli.schemas.pair import PAIR
from vlm2vec_cli.training import flags


def main(
    inputs: options.Inputs = None, model: options.Model = "Qwen/Qwen2-VL-2B-Instruct", output: flags.Out = "",
    preset: flags.Preset = None, config: flags.Config = None, dry_run: flags.DryRun = False,
    adapter: options.Adapter = None, revision: options.Revision = None, device: options.Device = "auto",
    num_processes: options.NumProcesses = 1, max_steps: flags.MaxSteps = None, epochs: flags.Epochs = 1.0,
    batch_size: flags.BatchSize = 1024, chunk_tokens: flags.ChunkTokens = 16384,
    grad_cache: flags.GradCache = True, homogeneous: flags.Homogeneous = "0",
    dataset_weight: flags.DatasetWeight = None, rows_per_dataset: flags.RowsPerDataset = None,
    num_hard_negatives: flags.NumHardNegatives = None, private_negatives: flags.PrivateNegatives = False,
    mask_duplicates: flags.MaskDuplicates = True, false_negative_margin: flags.Margin = None,
    loss: flags.Loss = "info_nce", loss_option: flags.LossOption = None,
    temperature: flags.Temperature = 0.02, dataset_temperature: flags.DatasetTemperature = None,
    learn_temperature: flags.LearnTemperature = False, matryoshka: flags.Matryoshka = None,
    matryoshka_weights: flags.MatryoshkaWeights = None, learning_rate: flags.LearningRate = 5e-5,
    weight_decay: flags.WeightDecay = 0.0, max_grad_norm: flags.MaxGradNorm = 1.0,
    warmup_steps: flags.WarmupSteps = 100, schedule: flags.Schedule = "linear",
    optimizer: flags.Optimizer = "adamw", adam_beta1: flags.Beta1 = 0.9, adam_beta2: flags.Beta2 = 0.999,
    lora: flags.Lora = None, lora_r: flags.LoraR = 16, lora_alpha: flags.LoraAlpha = 64,
    lora_dropout: flags.LoraDropout = 0.1, lora_targets: flags.LoraTargets = None, dora: flags.Dora = True,
    vision: flags.Vision = None, merge: flags.Merge = False,
    augment: flags.Augment = "none", precision: flags.Precision = "auto",
    gradient_checkpointing: flags.Checkpointing = False, eval_file: flags.Eval = None,
    eval_steps: flags.EvalSteps = 0, early_stopping: flags.EarlyStopping = None,
    save_steps: flags.SaveSteps = 0, save_total_limit: flags.SaveTotalLimit = None,
    resume: flags.Resume = "auto", allow_changed: flags.AllowChanged = None,
    report_to: flags.ReportTo = None, min_pixels: options.MinPixels = None,
    max_pixels: options.MaxPixels = None, num_frames: options.NumFrames = None,
    max_length: options.MaxLength = None, workers: options.Workers = None,
    media_root: options.MediaRoot = None, trust_paths: options.TrustPaths = False,
    allow_remote: options.AllowRemote = False, on_error: options.OnError = "fail",
    rejects: options.RejectsFile = None, allow_rejects: options.AllowRejects = 0, limit: options.Limit = None,
    seed: options.Seed = 42, quiet: options.Quiet = False, verbose: options.Verbose = False,
) -> None:  # fmt: skip
    """Train an embedder on pairs; the checkpoint goes into a folder, training events (JSONL) to stdout.

    The loss of a step is over all its pairs, whatever --chunk-tokens and --num-processes are: they change
    speed and memory, not the result. Under torchrun, accelerate launch or srun the processes are those.

    On a signal the run stops after the step with a checkpoint and exit code 75, and the same command goes on.
    Names of the published trainer's options that mean the same are understood, such as --lr_scheduler_type.

    Memory: 70 bytes a row, the model, and the activations of one chunk. Rows lie in the temporary folder.

    Examples:
      vlm2vec prepare quickstart --split train | vlm2vec train -m tiny -o runs/tiny --max-steps 20

      vlm2vec train pairs.jsonl -m Qwen/Qwen2-VL-2B-Instruct -o runs/mine --max-steps 1000 > mine.log.jsonl
    """
    given = dict(locals())
    launch.check_inputs(inputs)
    follows = launch.rank() > 0  # one process writes what is written once
    with streams.Session(
        inputs, natural="jsonl", on_error=on_error, rejects=None if follows else rejects,
        allow_rejects=sys.maxsize if follows and on_error == "skip" else allow_rejects,
        limit=limit, media_root=media_root, quiet=quiet or follows,
    ) as session:  # fmt: skip
        if num_processes > 1 and not launch.is_member():
            raise Exit(launch.run(num_processes, inputs))
        records = session.read(PAIR)
        from vlm2vec_cli import media
        from vlm2vec_cli.evaluating import Evaluation
        from vlm2vec_cli.training import run

        policy = media.MediaPolicy(trust_paths=trust_paths, allow_remote=allow_remote)
        reader = media.MediaReader(policy, decode=media.Apart())

        def evaluation() -> Evaluation | None:
            return Evaluation(session.read(ITEM, [eval_file]), reader) if eval_file else None

        events = run.run(records, given, reader, evaluation=evaluation, reject=session.reject)
        if follows:
            run.follow(events)
        else:
            session.write(progress.steps(events, label="train", quiet=quiet), EVENT)
