"""The section [reconstruct]: what is taken, what each complaint says, and whose center a list gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from crackdask.recipe.complaints import complaints
from crackdask.steps.reconstruct_parameters import ReconstructParams


class Root(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reconstruct: ReconstructParams = ReconstructParams()


def complaint(**keys: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Root.model_validate({"reconstruct": keys})
    return "\n".join(complaints(caught.value, Root))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "angles, word": ({"angles": "some"}, 'angles: should be "all" or two angles in degrees, [lowest, highest], not'),
    "angles, order": ({"angles": [177.0, 30.0]}, "angles: [lowest, highest] needs lowest < highest, not [177.0, 30.0]"),
    "angles, NaN": ({"angles": [30.0, float("nan")]}, 'angles: should be "all" or two angles'),
    "center, word": ({"center": "middle"}, 'center: should be "auto", a number of columns or a list of them, not \'mi'),
    "center, three": ({"center": [[1.0, 2.0, 3.0]]}, 'pairs [top, bottom] or "auto", one a state, not [1.0, 2.0, 3.0]'),
    "center, infinite": ({"center": float("inf")}, 'center: should be "auto", a number of columns'),
    "rows, reals": ({"rows": [0.0, 5.0]}, "rows: should be two rows of the detector, [first, end), first < end, not"),
    "rows, empty": ({"rows": [5, 5]}, "not [5, 5]"),
    "rotation_angle, one": ({"rotation_angle": [1.0]}, 'rotation_angle: should be "auto", a path, or a list of two'),
    "flats, three": ({"flats": ["a", "b", "c"]}, 'flats: should be "auto", "none", a path, or two paths'),
    "flats, word": ({"flats": ["auto", "b"]}, "flats: two paths name frames before and after the projections, not"),
    "ignored, word": ({"ignore_darks": "all"}, "ignore_darks: should list numbers and ranges [first, end), not 'all'"),
    "ignored, true": ({"ignore_darks": [True]}, "ignore_darks: should hold numbers from 0 and ranges"),
    "ignored, order": ({"ignore_flats": [[4, 2]]}, "ranges [first, end), not [4, 2]"),
    "zingers": ({"zingers": -0.5}, "zingers should be true, false or a part of a pixel's value, not -0.5"),
    "rings": ({"rings": "all"}, "rings: should be 'column', 'vo' or 'none'"),
    "padding": ({"padding": "zero"}, "padding: should be 'edge'"),
    "below_180": ({"below_180": 1}, "below_180: should be true or false, found 1"),
    "window, one": (
        {"window": [0.1]},
        'window: should be "auto", "none" or two attenuations per voxel edge, [lowest, highest], not [0.1]',
    ),
    "window, order": ({"window": [0.1, 0.1]}, "window: [lowest, highest] needs lowest < highest, not [0.1, 0.1]"),
    "unknown": ({"centre": 4.0}, "centre: unknown key; did you mean center?"),
}


@pytest.mark.parametrize("case", BAD)
def test_complaints_name_key_and_way_out(case: str) -> None:
    keys, message = BAD[case]
    assert message in complaint(**keys)


GOOD: dict[str, dict[str, Any]] = {
    "defaults": {},
    "lists": {
        "angles": [30, 177], "center": [850.5, [850.0, 851.5], "auto"], "rows": [100, 300], "zingers": False,
        "rotation_angle": [0, 180], "flats": ["a.tif", "b.tif"], "ignore_flats": [3, [5, 8]],
        "window": [-0.01, 0.05],
    },
    "paths": {"data": "/raw/data", "image_key": "key.txt", "rotation_angle": "x.h5::/theta", "darks": "none"},
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_what_is_stored_of_a_recipe_gives_the_same_again(case: str) -> None:
    params = ReconstructParams(**GOOD[case])
    kept = json.loads(json.dumps(params.model_dump(mode="json")))
    assert ReconstructParams.model_validate(kept) == params


CENTERS: dict[str, tuple[Any, int, Any]] = {
    "auto": ("auto", 3, ("auto",) * 3),
    "a whole number": (850, 2, ((850.0, 850.0),) * 2),
    "tilted, one state": ([850.0, 851.0], 1, ((850.0, 851.0),)),
    "tilted, three states": ([850.0, 851.0], 3, ((850.0, 851.0),) * 3),
    "one a state, two": ([[850.0], [851.0]], 2, ((850.0, 850.0), (851.0, 851.0))),
    "one a state, three": ([850.0, 851.0, 852], 3, ((850.0, 850.0), (851.0, 851.0), (852.0, 852.0))),
    "tilted, one a state": ([[850.0, 851.0], [852.0, 853.0]], 2, ((850.0, 851.0), (852.0, 853.0))),
    "mixed": (["auto", 851.0], 2, ("auto", (851.0, 851.0))),
    "one in a list": ([850.0], 1, ((850.0, 850.0),)),
}


@pytest.mark.parametrize("case", CENTERS)
def test_whose_center_it_is(case: str) -> None:
    center, states, wanted = CENTERS[case]
    assert ReconstructParams(center=center).axes(states) == wanted


def test_a_center_that_could_mean_two_things_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[\[850\.0\], \[860\.0\]\] for the first, \[\[850\.0, 860\.0\], \[850\.0"):
        ReconstructParams(center=(850.0, 860.0)).axes(2)
    with pytest.raises(ValueError, match="has 2 entries for 3 states"):
        ReconstructParams(center=([850.0], [860.0])).axes(3)
    with pytest.raises(ValueError, match="has 3 entries for 1 state;"):
        ReconstructParams(center=(1.0, 2.0, 3.0)).axes(1)


def test_how_bright_a_zinger_is() -> None:
    assert [ReconstructParams(zingers=each).zinger for each in (True, False, 0.5)] == [0.2, 0.0, 0.5]
