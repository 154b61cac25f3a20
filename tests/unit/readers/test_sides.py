"""Media of a whole batch lead where each of them leads alone."""

import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli import catalogue
from vlm2vec_cli.errors import UserError
from vlm2vec_cli.readers import Raw, References
from vlm2vec_cli.readers._sides import Bad, Sides
from vlm2vec_cli.readers.mmeb_train import _Media

NAMES = [f"{top}{name}" for top in ("images/A/", "images/A/x/", "images/B/", "images/A/../A/", "")
         for name in ("1.jpg", "\u00e9 2.jpg", "gone.jpg", "1.jpg#page=2", "..")]  # fmt: skip
MANY = st.lists(st.none() | st.sampled_from(NAMES), min_size=1, max_size=8)
ALIKE = st.lists(st.none() | st.sampled_from(NAMES[:2]), min_size=1, max_size=8)


@pytest.fixture(scope="module", params=["unpacked", "packed"])
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Raw:
    root: Path = tmp_path_factory.mktemp("root")
    for subset in "AB":
        inside = [f"images/{subset}/{name}" for name in ("1.jpg", "\u00e9 2.jpg", "x/1.jpg")]
        if request.param == "packed":
            (root / "images_zip").mkdir(exist_ok=True)
            with zipfile.ZipFile(root / f"images_zip/{subset}.zip", "w") as packed:
                for name in inside:
                    packed.writestr(name, b"x")
        else:
            for name in inside:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(b"x")
    return Raw(root, References(root), lambda _: None)


@given(batches=st.lists(MANY | ALIKE, min_size=1, max_size=3))
def test_a_batch_of_media_is_its_media_one_by_one(raw: Raw, batches: list[list[str | None]]) -> None:
    entry = catalogue.train_sources("mmeb-train")["OK-VQA"]
    sides, alone = Sides(entry, raw, _Media(entry, raw)), _Media(entry, raw)
    for names in batches:
        wrong, expected = dict[int, str](), list[str | None]()
        bad: Bad = {}
        for at, name in enumerate(names):
            try:
                expected.append(name and alone.reference("image", name))
            except UserError as error:
                expected.append(None)
                wrong[at] = str(error)
        found = sides._references(pl.Series("image", names, pl.String), "image", bad)
        assert found.to_list() == expected
        assert {at: str(error) for at, error in bad.items()} == wrong
