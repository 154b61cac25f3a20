"""How fast `embed` turns items into vectors, against other ways to use the same weights.

    python tests/benchmarks/embed_speed.py --rows 8 --threads 1          # a minute
    python tests/benchmarks/embed_speed.py --rows 96 --threads 1 2 --growth

The model is a Qwen2-VL of realistic proportions with random weights (130 million parameters, 78 of them the
token table), the data is made by the script. Workloads: a texts of mixed lengths, b pictures of mixed sizes
with a question each, c twelve questions on each picture, d clips of eight frames. Ways:

  reference  as VLM2Vec's evaluation: padded batches of 8 in arrival order, the language-model head over all
             positions, all hidden states
  stock      transformers' inner model: batches of 16 sorted by length, no head
  st         sentence-transformers, where it is installed and loads the folder
  ours       `vlm2vec_cli.encoder`, the whole way from rows to vectors

`floor` is what the distinct tokens and patches need in arithmetic (attention included) over the measured rate
of float32 matrix products; `of floor` is floor / ours. `wait` is the share of our time in which the model had
to wait for prepared rows. All vectors are compared with the reference's.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from setting import LIMITS, TEXT, VISION, WORDS, head, make_model
from vlm2vec_cli import encoder
from vlm2vec_cli.backbones import qwen2_vl
from vlm2vec_cli.engine import attention, packing, prompts
from vlm2vec_cli.media import MediaReader

Row = dict[str, Any]


def make_rows(folder: Path, workload: str, rows: int) -> list[Row]:
    """Rows of a workload, their pictures in `folder`; the same ones for the same arguments."""
    generator = np.random.default_rng(ord(workload))

    def text(words: float) -> str:
        return " ".join(generator.choice(WORDS, max(1, int(words))))

    def picture(name: str, longest: int = 560) -> str:
        width, height = generator.integers(120, longest, 2)
        small = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(small).resize((width, height)).save(folder / name, quality=90)
        return name

    if workload == "a":
        return [{"text": text(np.exp(generator.uniform(1, 5)))} for _ in range(4 * rows)]
    if workload == "b":
        return [{"image": picture(f"b{i}.jpg"), "text": text(12)} for i in range(rows)]
    if workload == "c":
        images = [picture(f"c{i}.jpg") for i in range(max(1, rows // 4))]
        return [{"image": image, "text": text(12)} for image in images for _ in range(12)]
    clips = [[picture(f"d{i}-{k}.jpg", 240) for k in range(8)] for i in range(max(1, rows // 4))]
    return [{"video": clip, "text": text(12)} for clip in clips]


# ------------------------------------------------------------------------------------- ways


def ours(model: Path, folder: Path, rows: list[Row]) -> tuple[Callable[[], np.ndarray], encoder.Encoder]:
    """The program's own way."""
    loaded = encoder.load(str(model), MediaReader(), device="cpu", dtype="float32", **_limits())

    def run() -> np.ndarray:
        inputs = (encoder.Input(row, folder, "") for row in rows)
        return np.stack([vector for vector in loaded.encode(inputs, _refuse) if vector is not None])

    return run, loaded


def padded(model: Path, folder: Path, rows: list[Row], reference: bool) -> Callable[[], np.ndarray]:
    """Batches of stock transformers, padded on the left."""
    plain = qwen2_vl.load(
        model, model, LIMITS, family=qwen2_vl.PROMPT_FAMILY, dtype=torch.float32, device="cpu"
    )
    wrapper = Qwen2VLForConditionalGeneration.from_pretrained(model, attn_implementation="sdpa").eval()
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 3136, "longest_edge": 1003520})
    media = MediaReader()

    def prepared(row: Row) -> tuple[list[int], torch.Tensor | None, torch.Tensor | None]:
        """The stock processor's pixels; ids as the packed way has them."""
        ids = plain.tokenizer(prompts.prompt(row))["input_ids"]
        if "image" in row:
            seen = processor(images=[media.image(row["image"], folder)], return_tensors="pt")
            pixels, grid = seen["pixel_values"], seen["image_grid_thw"]
        elif "video" in row:
            visual = plain.encode(row, folder, media).visuals[0]
            pixels = qwen2_vl.normalised(torch.from_numpy(visual.patches))
            grid = torch.tensor([visual.grid])
        else:
            return ids, None, None
        count = int(grid.prod()) // 4
        special = {plain._image_id, plain._video_id}
        return [one for i in ids for one in ([i] * count if i in special else [i])], pixels, grid

    @torch.inference_mode()
    def forward(batch: list[Any]) -> torch.Tensor:
        longest = max(len(ids) for ids, *_ in batch)
        ids = torch.tensor([[0] * (longest - len(ids)) + ids for ids, *_ in batch])
        mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids, *_ in batch])
        given: dict[str, Any] = {}
        if batch[0][1] is not None:
            video = bool((ids == plain._video_id).any())
            names = ("pixel_values_videos", "video_grid_thw") if video else ("pixel_values", "image_grid_thw")
            given = dict(zip(names, (torch.cat([one[k] for one in batch]) for k in (1, 2)), strict=True))
        positions = (mask.cumsum(1) - 1).clamp_min(0).expand(3, -1, -1)
        given.update(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
        if reference:
            out = wrapper(**given, output_hidden_states=True).hidden_states[-1]
        else:
            out = wrapper.model(**given).last_hidden_state
        return torch.nn.functional.normalize(out[:, -1], dim=-1)

    def run() -> np.ndarray:
        found = np.empty((len(rows), TEXT["hidden_size"]), np.float32)
        if reference:
            order, ready, size = list(range(len(rows))), None, 8
        else:
            ready, size = [prepared(row) for row in rows], 16
            order = sorted(range(len(rows)), key=lambda i: len(ready[i][0]))
        for at in range(0, len(order), size):
            chosen = order[at : at + size]
            batch = [prepared(rows[i]) if ready is None else ready[i] for i in chosen]
            found[chosen] = forward(batch).numpy()
        return found

    return run


def sentence_transformers(model: Path, folder: Path, rows: list[Row]) -> Callable[[], np.ndarray] | None:
    """sentence-transformers on the same folder; None where it cannot be had or cannot see."""
    try:
        from sentence_transformers import SentenceTransformer

        loaded = SentenceTransformer(str(model), device="cpu")
    except Exception as error:  # not installed, or whatever it raises for a folder that it cannot load
        print(f"sentence-transformers left out: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    if any("text" not in row or len(row) > 1 for row in rows):
        return None
    return lambda: np.asarray(loaded.encode([row["text"] for row in rows], batch_size=16))


def _limits() -> dict[str, int]:
    return {"min_pixels": LIMITS.min_pixels, "max_pixels": LIMITS.max_pixels, "num_frames": LIMITS.num_frames}


def _refuse(error: Exception) -> None:
    raise error


# ------------------------------------------------------------------------------- arithmetic


def matmul_rate(clock: Callable[[], float]) -> float:
    """Float operations a second of float32 matrix products of the model's shapes; the best of several."""
    left, right = torch.randn(2048, 512), torch.randn(2816, 512)
    best = float("inf")
    for _ in range(12):
        start = clock()
        torch.nn.functional.linear(left, right)
        best = min(best, clock() - start)
    return 2 * 2048 * 512 * 2816 / best


def flops(loaded: encoder.Encoder, folder: Path, rows: list[Row]) -> float:
    """Float operations that the distinct tokens and patches need: matrix products and attention."""
    media = MediaReader()
    packed = packing.pack([loaded.backbone.encode(row, folder, media) for row in rows])
    lengths, parents = packed.attention["segment_lengths"], packed.attention["segment_parents"]
    hidden, kv = TEXT["hidden_size"], TEXT["hidden_size"] * 2 // 8
    layer = 2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * TEXT["intermediate_size"]
    total = 2.0 * layer * TEXT["num_hidden_layers"] * sum(lengths)
    before = attention._before(lengths, parents)
    pairs = sum(length * (above + length / 2) for length, above in zip(lengths, before, strict=True))
    total += 4.0 * hidden * TEXT["num_hidden_layers"] * pairs
    width = VISION["embed_dim"]
    for visual in {visual.key: visual for visual in packed.visuals}.values():
        frames, high, wide = visual.grid
        patches = frames * high * wide
        block = 4 * width * width + 2 * width * width * VISION["mlp_ratio"]
        total += 2.0 * patches * (block * VISION["depth"] + 3 * 2 * 14 * 14 * width)
        total += 4.0 * width * VISION["depth"] * frames * (high * wide) ** 2
        total += 2.0 * patches / 4 * (4 * width) * (4 * width + hidden)
    return total


# ---------------------------------------------------------------------------------- running


def measure(
    run: Callable[[], np.ndarray], repeats: int, clock: Callable[[], float]
) -> tuple[float, np.ndarray]:
    """The best of `repeats` runs in seconds, and its vectors."""
    best, found = float("inf"), np.empty(0)
    for _ in range(repeats):
        start = clock()
        found = run()
        best = min(best, clock() - start)
    return best, found


def compare(model: Path, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Lines of the table."""
    yield (
        "threads load rows reference   stock      st    ours  ref/ours best/ours  floor of floor  wait "
        " largest diff"
    )
    for threads in options.threads:
        torch.set_num_threads(threads)
        rate = matmul_rate(options.clock)
        for workload in options.workloads:
            rows = make_rows(folder, workload, options.rows)
            run, loaded = ours(model, folder, rows)
            seconds, vectors = measure(run, options.repeats, options.clock)
            floor = flops(loaded, folder, rows) / rate
            others: dict[str, float] = {}
            difference = float("nan")
            if not options.only_ours:
                others["reference"], plain = measure(padded(model, folder, rows, True), 1, options.clock)
                others["stock"], _ = measure(padded(model, folder, rows, False), 1, options.clock)
                difference = float(np.abs(plain - vectors).max())
                if st := sentence_transformers(model, folder, rows):
                    others["st"], _ = measure(st, 1, options.clock)
            cells = [f"{others.get(name, float('nan')):8.2f}" for name in ("reference", "stock", "st")]
            best = min((value for name, value in others.items() if name != "reference"), default=float("nan"))
            yield (
                f"{threads:7} {workload:4} {len(rows):4}  {' '.join(cells)} {seconds:7.2f} "
                f"{others.get('reference', float('nan')) / seconds:9.2f} {best / seconds:9.2f} "
                f"{floor:6.2f} {floor / seconds:8.0%} {loaded.waited / seconds:5.1%} "
                f"{difference:13.1e}"
            )
        yield f"{threads:7} matrix products: {rate / 1e9:.1f} GFLOP/s"


def grow(model: Path, folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Time and peak memory of 1, 4 and 16 times the rows, each in a process of its own."""
    yield "workload  times  rows  seconds  peak MiB"
    for workload in options.workloads:
        for times in (1, 4, 16):
            command = [sys.executable, __file__, "--one", workload, str(model), str(times * options.rows)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            count, seconds, peak = done.stdout.split()
            yield f"{workload:8}  {times:5}  {count:>4}  {float(seconds):7.2f}  {float(peak):8.0f}"


def one(workload: str, model: str, rows: str) -> None:
    """One run for `grow`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = make_rows(Path(folder), workload, int(rows))
        run, _ = ours(Path(model), Path(folder), made)
        seconds, _ = measure(run, 1, time.perf_counter)
    print(len(made), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Prints the tables."""
    if sys.argv[1:2] == ["--one"]:
        return one(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=96, help="pictures of workload b; the others follow")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--workloads", nargs="+", default=list("abcd"), choices=list("abcd"))
    parser.add_argument("--repeats", type=int, default=2, help="our runs, of which the best counts")
    parser.add_argument("--only-ours", action="store_true", help="without the other ways")
    parser.add_argument(
        "--cpu-time", dest="clock", action="store_const", const=time.process_time, default=time.perf_counter,
        help="measure the process's CPU time, for a machine that others use, too",
    )  # fmt: skip
    parser.add_argument("--growth", action="store_true", help="also cost against the number of rows")
    parser.add_argument("--model", type=Path, help="keep the model in this folder between runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = options.model or folder / "model"
        if not (model / "config.json").is_file():
            model.mkdir(parents=True, exist_ok=True)
            make_model(model)
        print(head(), flush=True)
        for line in compare(model, folder, options):
            print(line, flush=True)
        if options.growth:
            for line in grow(model, folder, options):
                print(line, flush=True)


if __name__ == "__main__":
    main()
