"""A preview shows the bits of a run of its box, under each value, or says why there are none."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from crackdask.analysis.variants import compared
from crackdask.engine.preview import Preview
from crackdask.engine.scans import Scans
from crackdask.figures.preview_grid import Picture, draw_preview
from crackdask.figures.style import ORANGE, SKY, VERMILION
from crackdask.grid import Box
from crackdask.phantom.projected_scans import write_projections
from crackdask.recipe.recipe import RecipeError, check, load
from crackdask.recipe.sweep import Sweep
from tests.support.projected import PROJECTED, content
from tests.support.tiny import Tiny

BOX = "2:18,4:28,0:32"


def looked_at(tiny: Tiny, *sweeps: str, state: str | None = None, box: Box | None = None) -> Preview:
    scans = Scans.of(load(tiny.recipe), tiny.folder)
    return Preview.of(scans, tiny.folder, state, box, [Sweep.parsed(text) for text in sweeps])


def test_each_picture_has_the_bits_of_a_run_of_its_box(tiny: Tiny, tmp_path: Path) -> None:
    box = Box((2, 4, 0), (18, 28, 32))
    preview = looked_at(tiny, "mask.opening=0,2", "labels.min_depth=0.5,3", box=box)
    (tmp_path / "work").mkdir()
    variants = list(preview.variants(tmp_path / "work"))
    assert [variant.values for variant in variants] == [(0, 0.5), (0, 3), (2, 0.5), (2, 3)]
    for opening, min_depth in ((2, 0.5), (0, 3)):
        folder = tmp_path / f"alone-{opening}"
        for name in ("a", "b"):
            tiny.write_slices(folder / "scans" / name, tiny.scan("ab".index(name))[2:18, 4:28])
        alone = Tiny(folder)
        alone.content["states"] = alone.content["states"][:1]
        alone.change("mask", opening=opening)
        alone.change("labels", min_depth=min_depth)
        assert alone.run("--until", "labels").code == 0
        wanted = alone.contents(alone.store)
        shown = next(each for each in variants if each.values == (opening, min_depth))
        assert shown.label is not None
        assert shown.label.any()
        np.testing.assert_array_equal(shown.label, wanted["volumes/label"][0])
        np.testing.assert_array_equal(shown.grey, wanted["volumes/grey"][0])


def test_what_is_denoised_is_shown_where_that_is_tried(tiny: Tiny, tmp_path: Path) -> None:
    preview = looked_at(tiny, "denoise.method=none,median")
    untouched, smooth = (variant.grey for variant in preview.variants(tmp_path))
    assert untouched is not None
    assert smooth is not None
    rough = [float(np.abs(np.diff(grey.astype(float), axis=2)).mean()) for grey in (untouched, smooth)]
    assert rough[1] < 0.6 * rough[0]


def test_outlines_that_differ_from_the_first_picture_stand_out() -> None:
    whole = np.zeros((9, 9), np.uint32)
    whole[2:7, 2:7] = 1
    halved = whole.copy()
    halved[2:7, 4:7] = 2
    grey = np.full((9, 9), 90, np.uint8)
    page = draw_preview([Picture("a", grey, whole), Picture("b", grey, halved), Picture("c", grey, 0 * whole)], 3, "")
    paints = [axes.get_images()[1].get_array() for axes in page.axes]
    shown = [
        {tuple(pixel) for pixel in np.asarray(paint).reshape(-1, 4).round(3).tolist() if pixel[3]} for paint in paints
    ]
    red, orange, blue = ((*np.round(to_rgb(colour), 3).tolist(), 1.0) for colour in (VERMILION, ORANGE, SKY))
    assert shown == [{orange}, {orange, red}, {blue}]
    assert np.asarray(paints[1])[4, 3:5].round(3).tolist() == [list(red)] * 2


def test_the_command_writes_a_page_a_picture_and_the_lines_to_choose_from(tiny: Tiny) -> None:
    to = tiny.folder / "shown"
    said = tiny.crackdask(
        "preview", tiny.recipe, "--set", "mask.threshold=auto,120,255", "--box", BOX, "--state", "4.2 V", "--to", to
    )
    assert said.code == 0, said.err
    assert (to / "preview.png").read_bytes().startswith(b"\x89PNG")
    page = (to / "preview.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    _, listed = said.out.split("to choose one")
    offered = [tomllib.loads(text) for text in listed.partition("\n")[2].strip().split("\n\n")]
    assert offered == [{"mask": {"threshold": value}} for value in ("auto", 120, 255)]
    assert "the threshold 255 leaves nothing" in page
    assert not list(tiny.folder.glob("**/preview.zarr"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "labels.min_depth"], "wanted SECTION.KEY=VALUE,VALUE"),
        (["--set", "compute.chunk=1,2"], "no section 'compute' decides a picture"),
        (["--set", "labels.depth=1,2"], "labels.depth"),
        (["--set", "labels.min_depth=1,-2"], "labels.min_depth"),
        (["--set", "labels.min_depth=1,1"], "one value stands there twice"),
        (["--set", "denoise.method=nlm,,median"], "a value is empty; leave out the comma that is too many"),
        (["--set", "labels.min_depth=1", "--set", "labels.min_depth=2"], "is tried twice"),
        (["--set", "register.local=true,false"], "does nothing to the reference: name another state with --state"),
        (["--set", "labels.min_depth=1,2", "--state", "5 V"], "no state is named '5 V'"),
        (["--set", "labels.min_depth=1,2", "--box", "0:99,0:9,0:9"], "reaches outside the volume, which is z 0:20"),
        (["--set", "labels.min_depth=1,2", "--box", "5:1,0:9,0:9"], "wanted first and end of each axis"),
        (["--set", "labels.min_depth=" + ",".join(str(k / 100) for k in range(40))], "at most 36"),
        (["--set", "reconstruct.center=1,2"], "does nothing: 'pristine' is a tomogram already"),
        ([], "--set"),
    ],
)
def test_mistakes_are_told_before_a_voxel_is_read(words: list[str], told: str, tiny: Tiny) -> None:
    said = tiny.crackdask("preview", tiny.recipe, *words)
    assert said.code == 2
    assert told in " ".join(said.err.replace("│", " ").split())
    assert not (tiny.folder / "preview").exists()


@given(st.lists(st.one_of(st.integers(-9, 9), st.floats(-1e3, 1e3), st.booleans(), st.sampled_from(["nlm", "auto"]))))
def test_values_come_back_as_they_were_written(values: list[object]) -> None:
    unique = list({repr(value): value for value in values}.values())
    text = ",".join(str(value).lower() if isinstance(value, bool) else str(value) for value in unique)
    if not unique:
        with pytest.raises(RecipeError):
            Sweep.parsed(f"mask.threshold={text}")
        return
    assert list(Sweep.parsed(f"mask.threshold={text}").values) == unique


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.permutations(range(1, 5)))
def test_a_labelling_agrees_with_itself_under_other_names(labels: list[int], names: list[int]) -> None:
    label = np.array(labels)
    other = np.array([0, *names])[label]
    assert compared(label, other) == (len(set(labels) - {0}), 1.0)


# ---------------------------------------------------------------- projections


@pytest.fixture(scope="module")
def projected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projected")
    write_projections(PROJECTED, folder)
    return folder


def of_projections(folder: Path, center: object, sweep: str, state: str | None = None) -> Preview:
    recipe = check(
        content(folder, reconstruct={"center": center, "rings": "none"}, register={"transform": "none", "local": False})
    )
    box = Box((6, 8, 8), (14, 40, 40))
    return Preview.of(Scans.of(recipe, folder), folder, state, box, [Sweep.parsed(sweep)])


def test_centers_of_rotation_are_tried_and_the_right_one_has_the_sharpest_edges(
    projected: Path, tmp_path: Path
) -> None:
    right = PROJECTED.axis
    tried = of_projections(projected, right, f"reconstruct.center={right - 3},{right},{right + 3}")
    greys = [variant.grey for variant in tried.variants(tmp_path)]
    steps = [float(np.abs(np.diff(grey.astype(float), axis=2)).mean()) for grey in greys if grey is not None]
    assert int(np.argmax(steps)) == 1
    assert len(steps) == 3


def test_a_list_of_centers_is_cut_with_the_states(projected: Path, tmp_path: Path) -> None:
    right = PROJECTED.axis
    second = [state["name"] for state in content(projected)["states"]][1]
    shown = {}
    for name, center in (("one", right), ("list", [[right], [right]]), ("other", [[right - 3], [right]])):
        (tmp_path / name).mkdir()
        shown[name] = next(of_projections(projected, center, "labels.min_depth=0.5").variants(tmp_path / name)).grey
    np.testing.assert_array_equal(shown["one"], shown["list"])
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(shown["one"], shown["other"])
    later = of_projections(projected, [[right], [right - 3]], "labels.min_depth=0.5", second)
    (tmp_path / "later").mkdir()
    assert next(later.variants(tmp_path / "later")).grey is not None
