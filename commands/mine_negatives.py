"""`vlm2vec mine-negatives`: pairs to pairs with hard negatives."""

from functools import partial

from vlm2vec_cli import options
from vlm2vec_cli.mining import flags
from vlm2vec_cli.mining.settings import TEXT_OF_POSITIVE, Settings
from vlm2vec_cli.streams import Session, save


def main(
    inputs: options.Inputs = None, output: options.Output = "-", format: options.Format = None,
    method: flags.Method = "dense", model: flags.Model = None, vectors: flags.Vectors = None,
    corpus: flags.Corpus = None, num_negatives: flags.NumNegatives = 3, range_min: flags.RangeMin = 0,
    range_max: flags.RangeMax = None, max_score: flags.MaxScore = None, min_score: flags.MinScore = None,
    absolute_margin: flags.AbsoluteMargin = None, relative_margin: flags.RelativeMargin = None,
    rescore: flags.Rescore = None, rescore_margin: flags.RescoreMargin = 0.05,
    keep_positives_below: flags.KeepPositivesBelow = None, same_document: flags.SameDocument = "allow",
    near_duplicates: flags.NearDuplicates = None, media_identity: flags.MediaIdentity = "bytes",
    sampling: flags.Sampling = "top", across_datasets: flags.Across = False, replace: flags.Replace = False,
    on_short: flags.OnShort = "keep", group_batches: flags.GroupBatches = None,
    label_field: flags.LabelField = TEXT_OF_POSITIVE, num_neighbors: flags.NumNeighbors = 10,
    neighbors: flags.Neighbors = None, neighbors_out: flags.NeighborsOut = None,
    summary: flags.Summary = None, audit: flags.Audit = None, audit_size: flags.AuditSize = 50,
    backend: flags.Backend = "exact", cache: flags.Cache = None,
    allow_mixed_fingerprints: flags.AllowMixed = False,
    adapter: options.Adapter = None, revision: options.Revision = None, device: options.Device = "auto",
    dtype: options.Dtype = "auto", min_pixels: options.MinPixels = None, max_pixels: options.MaxPixels = None,
    num_frames: options.NumFrames = None, max_length: options.MaxLength = None,
    batch_tokens: options.BatchTokens = None, workers: options.Workers = None,
    media_root: options.MediaRoot = None, trust_paths: options.TrustPaths = False,
    allow_remote: options.AllowRemote = False, on_error: options.OnError = "fail",
    rejects: options.RejectsFile = None, allow_rejects: options.AllowRejects = 0, limit: options.Limit = None,
    seed: options.Seed = 42, quiet: options.Quiet = False, verbose: options.Verbose = False,
) -> None:  # fmt: skip
    """Give pairs hard negatives: targets near their query that do not answer it, as far as the data says.

    Never mined: the pair's positive, positives of pairs with the same query, targets that share an id
    (positive_ids, positive.id) or a key with it, labels that such an id spells, and copies of all these: text
    is compared without regard to white space and Unicode form, media by their bytes. --same-document exclude
    adds other pages of their files (FILE#page=, FILE#t=) and targets with an equal `document` field,
    --near-duplicates pictures that look like theirs. A judge (--rescore) refuses what it scores near the
    positive, of random draws too.

    Windows and margins mean what they mean in sentence-transformers; P is the largest number of pairs that
    share a query, and margins are measured from the lowest of its positives. The search is exact, on an
    accelerator (--device) as on processors; --device auto looks for one from 10^12 multiplications on. Of
    equal scores the lower id comes first.

    A row of --vectors belongs to every query (role query) or target (role candidate) whose text, image,
    video, num_frames and instruction are equal to its own as written. A corpus row that names no dataset
    serves all.

    --method labels takes the nearest of the dataset's labels, then random others, up to --num-negatives.

    All pairs are read before any is written. On disk, in the temporary folder: rows, and 4 x dimensions bytes
    a vector, twice with a judge. Memory: 3 kB a pair, 1 kB a target, 0.3 kB a picture with
    --near-duplicates, and 250 MB + 16,384 x dimensions bytes for each of up to 9 blocks; with --group-batches
    0.2 kB more for each candidate of a pair, of which there are --range-max at most.

    Examples:
      vlm2vec mine-negatives pairs.jsonl -m quickstart --relative-margin 0.05 --audit a.html -o mined.jsonl

      vlm2vec mine-negatives pairs.jsonl --method random --num-negatives 7 > random.jsonl
    """
    settings = Settings(
        method=method, model=model, vectors=vectors, corpus=corpus, num_negatives=num_negatives,
        range_min=range_min, range_max=range_max, max_score=max_score, min_score=min_score,
        absolute_margin=absolute_margin, relative_margin=relative_margin, rescore=rescore,
        rescore_margin=rescore_margin, keep_positives_below=keep_positives_below, sampling=sampling,
        same_document=same_document, near_duplicates=near_duplicates, media_identity=media_identity,
        across_datasets=across_datasets, replace=replace, on_short=on_short, group_batches=group_batches,
        label_field=label_field, num_neighbors=num_neighbors, neighbors=neighbors, audit=audit,
        neighbors_out=neighbors_out, audit_size=audit_size, backend=backend, cache=cache, seed=seed,
        allow_mixed=allow_mixed_fingerprints, device=device, summary=summary,
    )  # fmt: skip
    session = Session(
        inputs, output, format=format, on_error=on_error, rejects=rejects, allow_rejects=allow_rejects,
        limit=limit, media_root=media_root, quiet=quiet,
    )  # fmt: skip
    with session:
        from vlm2vec_cli import media
        from vlm2vec_cli.mining import run

        load_judge = partial(
            run.load, device=device, dtype=dtype, min_pixels=min_pixels, max_pixels=max_pixels,
            num_frames=num_frames, max_length=max_length, batch_tokens=batch_tokens, workers=workers,
            seed=seed,
        )  # fmt: skip
        load = partial(load_judge, adapter=adapter, revision=revision)
        policy = media.MediaPolicy(trust_paths=trust_paths, allow_remote=allow_remote)
        reader = media.MediaReader(policy, decode=media.Apart())
        done = run.Run(session, settings, reader, load, load_judge).mine()
        done.show()
        if summary is not None:
            save(summary, done.to_json())
