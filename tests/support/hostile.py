"""What damaged and hostile inputs meet: a media root with what nobody may see beside it, and a guard.

Each input is read or refused with a user's error: no other exception, no crash, no more than twenty seconds,
no file outside of the media root opened (an audit hook sees what Python opens; what C libraries might open
has a colour of its own outside of the root, which must never be seen), no byte written outside of the output.
How many inputs: see tests/faults/conftest.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

import fuzzing
from faults import Tally, share
from vlm2vec_cli.errors import UserError

SECRET = (250, 10, 200)
COLOUR = (30, 90, 20)
SEEDS = st.integers(0, 2**64 - 1)
GUARD = fuzzing.Guard()


def budget(number: int) -> settings:
    """`number` inputs in a full run, fewer in others."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=share(number), suppress_health_check=checks)


def fill(top: Path, root: Path) -> None:
    """The media root and its surroundings."""
    (root / "d").mkdir(parents=True)
    Image.new("RGB", (8, 6), SECRET).save(top / "secret.png")
    Image.new("RGB", (8, 6), COLOUR).save(root / "a.png")
    Image.new("RGB", (8, 6), COLOUR).save(root / "d" / "b.jpg")
    for name, target in (("out", ".."), ("link.png", "../secret.png"), ("far.png", str(top / "secret.png"))):
        (root / name).symlink_to(target)
    secret, own = (top / "secret.png").read_bytes(), (root / "a.png").read_bytes()
    (top / "secret.zip").write_bytes(fuzzing.packed_zip({"s.png": secret}))
    members = {"a.png": own, "d/b.png": own, "v/1.png": own, "v/2.png": own}
    (root / "z.zip").write_bytes(fuzzing.packed_zip({**members, "../../secret.png": own}))
    links = {
        "l.png": "a.png",
        "m.png": "../../secret.png",
        "n.png": str(top / "secret.png"),
        "o.png": "o.png",
    }
    (root / "t.tar").write_bytes(fuzzing.packed_tar(members, links))
    names = [
        "a.png",
        "../secret.png",
        str(top / "secret.png"),
        "link.png",
        "c.parquet!name[0]",
        "out/secret.png",
    ]
    images = [{"bytes": own, "path": one} for one in names]
    cells = {"name": names, "image": images, "many": [[own]] * len(names)}
    pq.write_table(pa.table(cells), root / "c.parquet", row_group_size=2)


def outcome(tally: Tally, name: str, place: Path, read: Callable[[], Any]) -> None:
    """Reads under guard, and counts."""
    result, fact = "refused", ""
    with GUARD.only(place):
        try:
            found = read()
            result = "read"
        except UserError as error:
            found, fact = None, str(error)
    assert "\n" not in fact, "an error is one line"
    assert len(fact) < 2000
    tally.input(name, result)
    for picture in found if isinstance(found, list) else [found]:
        if isinstance(picture, Image.Image):
            assert SECRET not in {colour for _, colour in picture.getcolors(1 << 24) or []}
