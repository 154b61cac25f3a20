"""Recognise the things of the scenes by matching every picture against every part of a scene.

A scene shows four or five things, of which the source names one; the split must know them all. Parts are cut
so that their thing is about as large as its picture. So each picture, its ground cut away, is moved over the
part, and the likeness is the Dice coefficient of the differences from the scene's ground colour: 1 where both
are equal, about 0 where nothing is alike. A coarse search over all pictures is followed by a fine one over
the best. The result is `scene_things.json`, with the thing of every part; `make_data.py` reads it and asserts
that it agrees with every name that the source gives.

    python -m vlm2vec_cli.quickstart.scene_things DEMO_DIR
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import conv2d

HERE = Path(__file__).parent
SIZE = 96
"""Longest side of a thing's picture, and about that of the thing in a part of a scene, in pixels."""
FIELD = 144
"""Side of the square ground that a part is laid on before the search, in pixels."""
SCALES = (1.0, 0.93, 0.87)
"""Sizes at which a part is tried."""
COARSE, FINE, KEPT = 4, 2, 16
"""Averaging of the two searches, in pixels, and how many pictures the coarse one leaves to the fine one."""


def picture(path: Path) -> Image.Image:
    """The RGB picture at `path`."""
    return Image.open(path).convert("RGB")


def template(image: Image.Image) -> torch.Tensor:
    """(5, 96, 96) float32 in 0..1: colours with the ground at 0, mask of the thing, frame of the picture."""
    width, height = image.size
    framed = Image.new("RGB", (width + 2, height + 2), "white")
    framed.paste(image, (1, 1))
    ImageDraw.floodfill(framed, (0, 0), (255, 0, 255), thresh=60)
    mask = ~(np.asarray(framed)[1:-1, 1:-1] == (255, 0, 255)).all(axis=2)
    y, x = (SIZE - height) // 2, (SIZE - width) // 2
    laid = np.zeros((5, SIZE, SIZE), np.float32)
    laid[:3, y : y + height, x : x + width] = (np.asarray(image) * mask[..., None] / 255).transpose(2, 0, 1)
    laid[3, y : y + height, x : x + width] = mask
    laid[4, y : y + height, x : x + width] = 1
    return torch.from_numpy(laid)


def smaller(planes: torch.Tensor, factor: int) -> torch.Tensor:
    """Planes (..., H, W) averaged over squares of `factor` pixels."""
    *rest, height, width = planes.shape
    return planes.reshape(*rest, height // factor, factor, width // factor, factor).mean((-3, -1))


def likeness(part: torch.Tensor, ground: torch.Tensor, templates: torch.Tensor) -> torch.Tensor:
    """(N,) best Dice coefficient of each of the (N, 5, h, w) templates anywhere on the (3, H, W) part."""
    things = templates[:, :3] - templates[:, 3:4] * ground.view(1, 3, 1, 1)
    there = (part - ground.view(3, 1, 1))[None]
    energy = conv2d((there**2).sum(1, keepdim=True), templates[:, 4:5])
    energy = energy + (things**2).sum((1, 2, 3))[:, None, None]
    return (2 * conv2d(there, things) / (energy + 1e-6))[0].flatten(1).amax(1)


def laid(image: Image.Image, colour: tuple[int, ...], scale: float) -> torch.Tensor:
    """(3, 144, 144) float32 in 0..1: a part of a scene, resized by `scale`, in the middle of its ground."""
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    field = Image.new("RGB", (FIELD, FIELD), colour)
    field.paste(image, ((FIELD - image.width) // 2, (FIELD - image.height) // 2))
    return torch.from_numpy(np.asarray(field, np.float32).transpose(2, 0, 1) / 255)


def recognise(demo: Path) -> dict[str, str]:
    """The id of the thing on every part of every scene that the training pairs use, by the part's name."""
    lines = (demo / "tasks/demo_t2i/corpus.jsonl").read_text(encoding="utf-8").splitlines()
    things = sorted(json.loads(line)["id"] for line in lines)
    keys = [(thing, style) for thing in things for style in ("noto", "fluent")]
    files = [demo / "images" / style / f"{thing.lower()}.jpg" for thing, style in keys]
    templates = torch.stack([template(picture(file)) for file in files])
    coarse, fine = smaller(templates, COARSE), smaller(templates, FINE)
    found = {}
    for scene in sorted((demo / "images/scenes").glob("train-???.jpg")):
        colour = tuple(int(value) for value in np.median(np.asarray(picture(scene)).reshape(-1, 3), axis=0))
        ground = torch.tensor(colour) / 255
        for file in sorted(scene.parent.glob(f"{scene.stem}-?.jpg")):
            parts = [laid(picture(file), colour, scale) for scale in SCALES]
            likely = torch.stack([likeness(smaller(part, COARSE), ground, coarse) for part in parts]).amax(0)
            best = likely.topk(KEPT).indices
            sure = torch.stack([likeness(smaller(part, FINE), ground, fine[best]) for part in parts]).amax(0)
            found[file.stem] = keys[int(best[sure.argmax()])][0]
    return found


def main() -> None:
    """Write `scene_things.json` beside this file."""
    found = recognise(Path(sys.argv[1]))
    text = json.dumps(found, indent=0, sort_keys=True)
    (HERE / "scene_things.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
