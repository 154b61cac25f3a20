"""Every backbone equals the published code: ids, pixels, features, vectors; alone, mixed, after saving."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import backbones
import golden
from backbones import ALL, LLAVA_NEXT, PHI3_V, QWEN2_5_VL, Family
from vlm2vec_cli import adapters
from vlm2vec_cli.engine import tiles

TOLERANCE = 2e-5
EVERY = [pytest.param(family, name, id=f"{family.name}-{name}") for family in ALL for name in family.ids]
TILED = [
    pytest.param(family, name, id=f"{family.name}-{name}")
    for family in (LLAVA_NEXT, PHI3_V)
    for name in family.ids
    if family.inputs[name]["image"]
]
FAMILIES = [pytest.param(family, id=family.name) for family in ALL]


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_ids_are_the_references(family: Family, name: str) -> None:
    encoded = family.encoded(name)
    ids = encoded.ids.copy()
    if family is PHI3_V:  # which numbers its pictures from -1 downwards
        ids[encoded.slots] = -1
    assert ids.tolist() == family.expected_ids(name)


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_a_vector_alone_is_the_references(family: Family, name: str) -> None:
    states = family.states([name])
    assert np.abs(states[0].numpy() - family.arrays[f"pooled_raw/{name}"]).max() <= 1e-4
    vector = torch.nn.functional.normalize(states[0], dim=-1).numpy()
    assert np.abs(vector - family.arrays[f"emb/{name}"]).max() <= TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=2)
@given(data=st.data())
def test_a_vector_does_not_depend_on_its_neighbours(family: Family, data: st.DataObject) -> None:
    small = [name for name in family.ids if family.inputs[name]["n_tokens"] < 1500]
    names = data.draw(st.permutations(small))
    for name, vector in zip(names, family.vectors(names), strict=True):
        assert np.abs(vector - family.arrays[f"emb/{name}"]).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("family", "batch"),
    [(family, batch) for family in ALL for batch in family.facts["batches"]],
    ids=lambda value: getattr(value, "name", value),
)
def test_mixed_batches_are_the_references(family: Family, batch: str) -> None:
    vectors = family.vectors(family.facts["batches"][batch]["items"])
    assert np.abs(vectors - family.arrays[f"emb_batch/{batch}"]).max() <= TOLERANCE


@pytest.mark.parametrize("family", [LLAVA_NEXT, PHI3_V], ids=lambda family: family.name)
def test_an_empty_text_is_the_start_token(family: Family) -> None:
    encoded = family.backbone.encode({"text": ""}, backbones.ROOT, golden.media())
    assert encoded.ids.tolist() == [1]
    with torch.inference_mode():
        vector = torch.nn.functional.normalize(family.backbone.forward([encoded]), dim=-1)[0].numpy()
    assert np.abs(vector - family.facts["edge"]["empty_text"]["emb"]).max() <= TOLERANCE


@pytest.mark.parametrize(("family", "name"), TILED)
def test_tiles_and_features_are_the_references(family: Family, name: str) -> None:
    backbone: Any = family.backbone
    (visual,) = family.encoded(name).visuals
    pixels = tiles.normalised(torch.from_numpy(visual.patches)).permute(0, 3, 1, 2)[:, :, ::24, ::24].numpy()
    expected = family.arrays[f"pixel_sub24/{name}"]
    if family is PHI3_V:  # whose view of the whole is made with the features
        expected = expected[1 : 1 + len(pixels)]
    assert np.abs(pixels - expected).max() <= 1e-6
    with torch.inference_mode():
        features = backbone.look([visual]).numpy()
    rows = family.inputs[name]["image_feature_rows"]
    expected = family.arrays[f"image_feature_rows/{name}"]
    # Some towers' features are in the hundreds, where two float32 are further apart.
    assert np.abs(features[rows] - expected).max() <= max(1e-4, 2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in QWEN2_5_VL.ids if QWEN2_5_VL.inputs[name]["grid_thw"]])
def test_windows_of_the_tower_are_the_references(name: str) -> None:
    backbone: Any = QWEN2_5_VL.backbone
    (visual,) = QWEN2_5_VL.encoded(name).visuals
    with torch.inference_mode():
        features = backbone.look([visual])[:48].numpy()
    assert np.abs(features - QWEN2_5_VL.arrays[f"vision_features/{name}"]).max() <= 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_loads_again_with_the_same_vectors(family: Family, tmp_path: Path) -> None:
    family.backbone.save(tmp_path)
    names = family.ids[:3]
    assert np.array_equal(family.vectors(names, family.fresh(tmp_path)), family.vectors(names))


@pytest.mark.parametrize("name", [name for name in PHI3_V.ids if "@" in name or name.startswith("t")])
def test_an_adapter_over_text_and_tower_is_the_references(name: str) -> None:
    assert np.abs(PHI3_V.vectors([name], _adapted())[0] - PHI3_V.arrays[_merged(name)]).max() <= TOLERANCE


@cache
def _adapted() -> Any:
    made = PHI3_V.fresh()
    made.model = adapters.attach(made.model, PHI3_V.root / "adapter").merge_and_unload()
    return made


def _merged(name: str) -> str:
    return f"emb_adapter_merged_crops4/{name.partition('@')[0]}"
