"""prepare: raw data -> rows."""

from vlm2vec_cli import options
from vlm2vec_cli.errors import UsageError
from vlm2vec_cli.preparing import options as own
from vlm2vec_cli.streams import Session


def main(
    source: own.Source,
    files: own.Files = None,
    root: own.Root = None,
    task: own.Names = None,
    modality: own.Modality = None,
    task_type: own.TaskType = None,
    in_domain: own.InDomain = False,
    ood: own.OutOfDomain = False,
    split: own.Split = None,
    list_: own.List = False,
    check: own.Check = False,
    side: own.Side = "both",
    no_instruction: own.Plain = False,
    num_frames: options.NumFrames = None,
    sample: own.Sample = None,
    limit: own.Limit = None,
    seed: options.Seed = 0,
    dataset: own.Dataset = None,
    role: own.Role = None,
    instruction: own.Instruction = None,
    with_text: own.WithText = False,
    map_: own.Maps = None,
    preset: own.Preset = None,
    prompt: own.Prompt = None,
    predicates: own.Predicates = None,
    no_relation: own.NoRelation = False,
    output: options.Output = "-",
    format: own.Format = None,
    media_root: options.MediaRoot = None,
    on_error: options.OnError = "fail",
    rejects: options.RejectsFile = None,
    allow_rejects: options.AllowRejects = 0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Turn raw data into rows: items to embed, or pairs to train with.

    Of each dataset queries come first, then candidates. Media are not opened, only referred to: in place, be
    it inside zip, tar or Parquet files, relative to the media root (--media-root, else the folder of -o FILE,
    else the working directory). A table's columns become fields by --map: query.text=question, dataset==mine
    (a constant), text={title}: {body} (a template).

    Examples:
      vlm2vec prepare mmeb-v2 --root MMEB-V2 --task 'MSCOCO_*' -o coco.jsonl

      vlm2vec prepare table qa.csv --map query.text=question --map positive.text=answer > pairs.jsonl
    """
    from vlm2vec_cli.preparing import listing
    from vlm2vec_cli.preparing.plan import plan
    from vlm2vec_cli.preparing.request import Request

    if in_domain and ood:
        raise UsageError("--in-domain and --ood exclude each other")
    request = Request(
        source, paths=tuple(files or ()), root=root, names=tuple(task or ()), modality=modality,
        task_type=task_type, domain="in" if in_domain else "out" if ood else None, split=split, list=list_,
        check=check, side=side, instructions=not no_instruction, num_frames=num_frames, sample=sample,
        limit=limit, seed=seed, dataset=dataset, role=role, instruction=instruction, with_text=with_text,
        maps=tuple(map_ or ()), preset=preset, prompt=prompt, predicates=predicates, no_relation=no_relation,
    )  # fmt: skip
    todo = plan(request)
    with Session(
        output=output, natural="text" if list_ or check else "jsonl", format=format, media_root=media_root,
        quiet=quiet, on_error=on_error, rejects=rejects, allow_rejects=allow_rejects,
    ) as session:  # fmt: skip
        if list_ or check:
            listing.check_form("a list" if list_ else "a check", session.format)
        if list_:
            session.write_text(listing.show(todo.listing(), session.format))
        elif check:
            from vlm2vec_cli.preparing import checking

            report = checking.examine(todo, quiet=quiet)
            session.write_text(checking.show(report, session.format))
            checking.judge(report)
        else:
            session.write(todo.pieces(session.origin_root(output), session.reject), todo.kind)
