import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from mining_run import Row, run, scattered
from vlm2vec_cli.mining import looks
from vlm2vec_cli.mining.looks import Looks, difference_hash

ROOT = Path()


def drawn(seed: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A smooth picture of a few blots."""
    grey = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.unpackbits(difference_hash(one) ^ difference_hash(other)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_another_encoding_or_size_looks_the_same_and_another_picture_does_not(seed: int) -> None:
    picture = drawn(seed)
    assert apart(picture, jpeg(picture, 60)) <= 12
    assert apart(picture, picture.resize((97, 71))) <= 12
    assert apart(picture, drawn(seed + 100)) > 40


def test_a_flat_picture_has_no_bits_whatever_the_noise() -> None:
    noise = np.random.default_rng(0).integers(200, 203, (120, 160, 3), dtype=np.uint8)
    assert not difference_hash(Image.fromarray(noise)).any()


@settings(max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 40),
    st.integers(0, 31),
    st.lists(st.integers(0, 2), min_size=40, max_size=40),
)
def test_bands_find_what_comparing_all_finds(seed: int, number: int, bits: int, kinds: list[int]) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(0, 2, (3, 256))
    flips = [random.random(256) < random.choice([0.0, 0.02, 0.06, 0.12]) for _ in range(number)]
    hashes = np.array([base[random.integers(3)] ^ flip for flip in flips])
    found = Looks(bits, lambda ref, root: hashes[int(ref)])  # type: ignore[arg-type, return-value]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "difference_hash", np.packbits)
        for one in range(number):
            found.add(100 + one, {"image": str(one)}, ROOT, bytes([kinds[one]]))
    for one in range(number):
        expected = [
            100 + other
            for other in range(number)
            if other != one and kinds[other] == kinds[one] and (hashes[one] != hashes[other]).sum() <= bits
        ]
        assert found.near(100 + one) == expected


def test_a_re_encoded_copy_of_the_positive_is_mined_unless_asked(tmp_path: Path) -> None:
    drawn(0).save(tmp_path / "a.png")
    drawn(0).save(tmp_path / "a.jpg", quality=60)
    drawn(1).save(tmp_path / "b.png")
    names = ["a.png", "a.jpg", "b.png"]
    pairs: list[Row] = [{"query": {"text": name}, "positive": {"image": name}} for name in names]
    other = {"query": {"text": "caption"}, "positive": {"image": "a.jpg", "text": "with words"}}
    vectors: list[Row] = [{"role": "query", **pair["query"]} for pair in [*pairs, other]]
    vectors += [{"role": "candidate", **pair["positive"]} for pair in [*pairs, other]]
    files = {"vectors.jsonl": [{**row, "embedding": scattered(str(row))} for row in vectors]}
    options = {"vectors": "vectors.jsonl", "num_negatives": 9}

    def mined(**more: int) -> list[set[str]]:
        rows, facts = run([*pairs, other], {**options, **more}, files, folder=tmp_path)
        removed = facts["datasets"]["default"]["removed"]["near_duplicate"]
        assert removed == (2 if more else 0)
        return [{one["image"] + one.get("text", "") for one in row["negatives"]} for row in rows]

    words = "a.jpgwith words"
    assert mined()[:2] == [{"a.jpg", "b.png", words}, {"a.png", "b.png", words}]
    assert mined(near_duplicates=12)[:3] == [{"b.png", words}, {"b.png", words}, {"a.png", "a.jpg", words}]
