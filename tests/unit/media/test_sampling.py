import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec_cli.media.sampling import extracted, frame_names, from_raw, natural_key, spread

TOTALS = st.integers(0, 5000)
WANTED = st.integers(1, 200)


@given(TOTALS, WANTED)
def test_spread_equals_numpys_linspace_cut_to_integers(total: int, wanted: int) -> None:
    naive = list(range(total))
    if total > wanted:
        naive = np.linspace(0, total - 1, wanted).astype(int).tolist()
    assert spread(total, wanted) == naive


@given(TOTALS, WANTED)
def test_a_raw_video_is_first_extracted_then_spread(total: int, wanted: int) -> None:
    names = [int(np.floor(i * total / 64)) for i in range(64)] if total > 64 else list(range(total))
    picks = np.linspace(0, len(names) - 1, wanted).astype(int) if len(names) >= wanted else range(len(names))
    assert from_raw(total, wanted, 64) == [names[pick] for pick in picks]
    assert from_raw(total, None, 64) == names == extracted(total, 64)


@given(TOTALS, st.none() | WANTED)
def test_positions_rise_and_stay_inside(total: int, wanted: int | None) -> None:
    positions = spread(total, wanted)
    assert positions == sorted(set(positions))
    assert all(0 <= position < total for position in positions)
    assert len(positions) == (total if wanted is None else min(total, wanted))


@pytest.mark.parametrize("wanted", [0, -1])
def test_no_frames_cannot_be_wanted(wanted: int) -> None:
    with pytest.raises(ValueError, match="number of frames"):
        spread(10, wanted)


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1), st.randoms())
def test_numbers_in_names_sort_as_numbers(numbers: list[int], shuffler: random.Random) -> None:
    names = [f"Frame_{number}.jpg" for number in numbers]
    shuffler.shuffle(names)
    assert sorted(names, key=natural_key) == [f"Frame_{number}.jpg" for number in sorted(numbers)]


@given(st.lists(st.text("aAbB019²٣_.", max_size=6), unique=True), st.randoms())
def test_the_order_does_not_depend_on_the_order_names_come_in(
    names: list[str], shuffler: random.Random
) -> None:
    shuffled = list(names)
    shuffler.shuffle(shuffled)
    assert sorted(names, key=natural_key) == sorted(shuffled, key=natural_key)


def test_very_long_numbers_are_no_trouble() -> None:
    long = "9" * 10_000
    assert sorted([f"{long}.png", "8.png"], key=natural_key) == ["8.png", f"{long}.png"]


def test_frames_are_pictures_by_suffix_and_not_hidden() -> None:
    names = ["10.JPG", "9.jpeg", "0001.png", "._0001.png", "notes.txt", "a.webp", "Thumbs.db"]
    assert frame_names(names) == ["0001.png", "9.jpeg", "10.JPG"]
