"""The report as its reader opens it: one page that asks for nothing from outside, and says what it cannot show."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from crackdask import analyse, figures
from crackdask.analysis import findings
from crackdask.analysis.parameters import AnalysisError
from crackdask.cli import demo as cli_demo
from crackdask.phantom import FIVE_STATES
from crackdask.report import markup
from crackdask.report.markup import section
from crackdask.report.page import Report, report
from crackdask.report.summary import summary
from crackdask.store.open import open_store
from tests.support.pictured import PARTICLES, electrode
from tests.support.tiny import Tiny, crackdask

NAMES = [panel.name for panel in figures.PANELS]


@pytest.fixture(scope="module", autouse=True)
def coarse() -> Iterator[None]:
    """Write small PNGs, to save time: the page holds the SVGs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crackdask.report.page._DPI", 40)
        yield


@pytest.fixture(scope="module")
def store() -> xr.DataTree:
    made = electrode()
    made.attrs["recipe"]["experiment"] |= {"name": "<script>alert(1)</script> & more"}
    return made


@pytest.fixture(scope="module")
def made(store: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report(store, tmp_path_factory.mktemp("report"))


def pictures(page: str) -> list[str]:
    """Return the pictures of a page, as SVG."""
    return [base64.b64decode(data).decode() for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)]


# ---------------------------------------------------------------- the page


def test_the_page_asks_for_nothing_from_outside(made: Report) -> None:
    page = made.page.read_text(encoding="utf-8")
    assert re.findall(r"https?:|//[a-z]|@import|<script|<link|<iframe|url\(", page) == []
    assert all(src.startswith("data:image/svg+xml;base64,") for src in re.findall(r'src="([^"]*)', page))
    found = pictures(page)
    assert len(found) == len(NAMES)
    for svg in found:
        assert re.findall(r'href="(?!#|data:image/png)[^"]*"', svg) == []
        assert "@import" not in svg


def test_every_figure_is_there_with_its_numbers(made: Report) -> None:
    assert made.missing == {}
    folder = made.page.parent
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(
        f"{name}.{kind}" for name in NAMES for kind in ("svg", "png", "csv")
    )
    assert set(made.files) == {path for path in folder.rglob("*") if path.is_file()}
    page = made.page.read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]*)"', page)
    for link in links:
        assert link.startswith(("#", "../")) or (folder / link).is_file()
    assert re.findall(r'<section id="([^"]*)"', page) == NAMES


def test_the_contents_lead_to_every_figure(made: Report) -> None:
    page = made.page.read_text(encoding="utf-8")
    contents = re.findall(r'<li><a href="#([^"]*)">([^<]*)</a>', page.partition("<nav")[2].partition("</nav>")[0])
    names = [name for name, _ in contents]
    assert names == ["warnings", *NAMES]
    assert [words for _, words in contents[1:]] == [panel.title for panel in figures.PANELS]
    assert all(len(re.findall(rf'id="?{name}["> ]', page)) == 1 for name in names)


def test_figures_of_a_particle_lead_to_it_in_the_explorer(made: Report) -> None:
    page = made.page.read_text(encoding="utf-8")
    crack = pd.read_csv(made.page.parent / "figures" / "4i_crack_surface.csv").particle[0]
    part = page.partition('id="4i_crack_surface"')[2].partition("</section>")[0]
    assert f'<a href="../#particle={crack}&amp;solid=all">Open particle {crack}' in part
    assert "crackdask explore" not in part  # a store in memory has no name to be opened by
    told = section(figures.PANELS[0], b"", "particle=3&solid=all", "my cell.zarr")
    assert "crackdask explore &#x27;my cell.zarr&#x27; --show &#x27;particle=3&amp;solid=all&#x27;" in told


def test_the_tables_hold_the_numbers_of_the_analysis(store: xr.DataTree, made: Report) -> None:
    folder = made.page.parent / "figures"
    rmpi = analyse.rmpi(store)["mean"].sel(region=["full", "phase_removed"]).isel(state=slice(5))
    frame = pd.read_csv(folder / "2b_relative_intensity.csv")
    np.testing.assert_allclose(frame["mean"], rmpi.values.ravel(), rtol=1e-12)
    extremes = pd.read_csv(folder / "3ab_extreme_states.csv")
    np.testing.assert_array_equal(extremes.most_count, analyse.extremes(store).most_count)
    paths = pd.read_csv(folder / "3e_tree_of_paths.csv").set_index("branch")
    np.testing.assert_array_equal(paths["count"], analyse.paths(store)["count"])


def test_names_are_escaped(made: Report) -> None:
    page = made.page.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "<script" not in page


def test_the_same_store_gives_the_same_page(tmp_path: Path) -> None:
    one, other = (report(electrode(tracked=np.zeros(PARTICLES, bool)), tmp_path / name) for name in ("one", "other"))
    assert len(one.files) > 10
    assert [path.read_bytes() for path in one.files] == [path.read_bytes() for path in other.files]


# ---------------------------------------------------------------- the summary


def test_the_summary_in_words_and_numbers(store: xr.DataTree, made: Report) -> None:
    damage = analyse.damage(store)
    charge, discharge = analyse.damaged_on_charge(damage), analyse.healed_on_discharge(damage)
    first = analyse.ranking(analyse.paths(damage)).isel(path=0)
    facts = dict(summary(store).facts)
    assert facts["particles"] == "40 found, 40 (100%) tracked through all states"
    assert facts["damaged on charge"].startswith(f"{int(charge.at_top.sum())} of 40 (")
    assert facts["healed on discharge"].startswith(f"{int(discharge.healed.sum())} of 40 (")
    assert facts["commonest path"].startswith(f"{first.path.item()} (pristine → 4.2 V → 4.4 V")
    numbers = pd.read_csv(made.page.parent / "summary.csv").set_index("name").value
    assert int(numbers["healed_on_discharge"]) == int(discharge.healed.sum())
    assert numbers["commonest_path"] == first.path.item()
    page = made.page.read_text(encoding="utf-8")
    assert all(f"<dt>{what}</dt>" in page for what in facts)


def test_few_particles_and_why_the_others_were_dropped(made: Report) -> None:
    told = summary(electrode(tracked=np.arange(40) < 8))
    assert dict(told.facts)["not tracked"] == "32, some for several reasons: 14 on the image border"
    assert any(words.startswith("Only 8 particles are tracked") for words in told.warnings)
    assert any(words.startswith("Only 20% of the particles are tracked") for words in told.warnings)
    assert "Only 40 particles are tracked" in made.page.read_text(encoding="utf-8")


def test_a_drifting_background(store: xr.DataTree) -> None:
    steady = figures.histogram.collect_grey_histogram(store)
    assert not [words for words in summary(store, histogram=steady).warnings if "Drifting" in words]
    moved = store.copy()
    volumes = moved["volumes"].to_dataset()
    shift = xr.DataArray([0, 0, 6, 0, 0, 0], {"state": volumes.state}, ["state"])
    moved["volumes"] = xr.DataTree(volumes.assign(grey=(volumes.grey + shift).astype(np.uint8)))
    drifting = figures.histogram.collect_grey_histogram(moved)
    words, also = [words for words in summary(moved, histogram=drifting).warnings if "Drifting" in words]
    assert words.startswith("Drifting background: 4.4 V (+6.")
    assert also.startswith("Drifting grey scale of the particles: 4.4 V (+6.")


def test_a_drifting_grey_scale(store: xr.DataTree) -> None:
    moved = store.copy()
    volumes = moved["volumes"].to_dataset()
    shift = xr.where(volumes.label > 0, xr.DataArray([0, 0, 0, -9, 0, 0], {"state": volumes.state}, ["state"]), 0)
    moved["volumes"] = xr.DataTree(volumes.assign(grey=(volumes.grey + shift).astype(np.uint8)))
    told = summary(moved, histogram=figures.histogram.collect_grey_histogram(moved))
    (words,) = [words for words in told.warnings if "Drifting" in words]
    assert words.startswith("Drifting grey scale of the particles: 4.2 V DC (-8.")
    assert 0.05 < float(told.numbers["largest_grey_drift"]) < 0.08  # 9 of 140 grey levels
    assert float(told.numbers["largest_background_drift"]) < 0.01


def test_findings_of_the_run_stand_before_all_other_warnings(store: xr.DataTree) -> None:
    assert not [words for words in summary(store).warnings if "window" in words]
    cut = store.copy()
    cut.attrs["findings"] = findings.as_attribute(
        findings.of_window({"pristine": [0.0, 1e-5], "4.2 V": [0.05, 0.0], "4.4 V": [0.02, 0.01]})
    )
    first = summary(cut).warnings[0]
    assert first.startswith("Voxels beyond the grey window: 4.2 V (5.0%), 4.4 V (3.0%). ")


def test_what_was_taken_care_of_is_no_warning(store: xr.DataTree) -> None:
    seen = store.copy()
    seen.attrs["findings"] = findings.as_attribute(
        [findings.Finding("three-phases", None, 3, 2, "so many"), findings.Finding("clipped", "4.2 V", 1, 0, "all")]
    )
    told = summary(seen)
    (note,) = told.notes
    assert note.startswith("More than two phases: so many. ")
    assert note not in told.warnings
    html = markup.page("a report", [], told.warnings, told.notes, {}, {}, "0", "")
    assert html.count('<p class="note"') == 1
    assert html.count('<p class="warning"') == len(told.warnings)
    assert html.index("id=warnings>Voxels beyond") < html.index("id=notes>More than two phases")
    assert f"Warnings ({len(told.warnings)})" in html
    assert "Seen, and taken care of (1)" in html


def test_a_single_state_and_a_single_particle_are_summarised() -> None:
    alone = dict(summary(electrode(FIVE_STATES[:1])).facts)
    assert alone["experiment"] == "1 state: pristine"
    assert all(alone[what].startswith("cannot be told: ") for what in ("damaged on charge", "commonest path"))
    one = summary(electrode(particles=1))
    assert dict(one.facts)["particles"] == "1 found, 1 (100%) tracked through all states"
    assert dict(one.facts)["damage"].startswith("cannot be told: 1 particle of 1 tracked, and two or more are needed")
    assert any(words.startswith("Only 1 particle is tracked") for words in one.warnings)


def test_a_damage_definition_without_a_value_is_told(store: xr.DataTree) -> None:
    @analyse.define_damage("nothing", "1", "not a number")
    def nothing(table: xr.Dataset) -> xr.DataArray:
        return table.mean_grey.sel(region="core", drop=True) * np.nan

    try:
        odd = store.copy()
        odd.attrs["recipe"] = {**odd.attrs["recipe"], "analyse": {"damage": "nothing"}}
        facts = dict(summary(odd).facts)
    finally:
        del analyse.DAMAGE_FACTORS["nothing"]
    assert facts["damage"].startswith("cannot be told: damage factor 'nothing' is not a finite number")
    assert facts["particles"] == "40 found, 40 (100%) tracked through all states"


def test_each_state_of_the_cell_says_to_what_it_is_linked_and_why(store: xr.DataTree, made: Report) -> None:
    page = made.page.read_text(encoding="utf-8")
    cell = page[page.index('<section id="cell_over_time">') : page.index('<section id="cell_capacity">')]
    names = store["electrochemistry"].state.values.tolist()
    wanted = [(name, "linked: the only rest") for name in names[:-1]] + [(names[-1], "not linked: no rest")]
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", cell) == wanted
    assert page.count("not linked: ") == 1


# ---------------------------------------------------------------- partial reports


def test_what_cannot_be_drawn_says_why(tmp_path: Path) -> None:
    projected = [panel for panel in figures.PANELS if panel.group]  # of what most stores lack nothing is said
    found = report(
        electrode(tracked=np.zeros(PARTICLES, bool)).drop_nodes(["reconstruction", "electrochemistry"]), tmp_path
    )
    page = found.page.read_text(encoding="utf-8")
    drawn = len(pictures(page))  # what needs no tracked particle
    assert drawn > 3
    assert projected
    assert len(found.missing) == len(NAMES) - drawn - len(projected)
    assert "Reconstruction" not in page
    assert page.count("Not drawn: ") == len(found.missing)
    assert all("no particles of 40 tracked" in why for why in found.missing.values())
    assert page.index("<h2>What this store cannot show") > page.rindex("<img")
    assert '<a href="#not-drawn">What this store cannot show' in page


def test_nothing_stale_stays_beside_a_new_report(store: xr.DataTree, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("3e_tree_of_paths.svg", "mine.svg"):
        (tmp_path / "figures" / name).write_text("old")
    report(electrode(tracked=np.zeros(40, bool)), tmp_path)
    assert not (tmp_path / "figures" / "3e_tree_of_paths.svg").exists()
    assert (tmp_path / "figures" / "mine.svg").exists()


def test_an_unfinished_store_has_no_report(store: xr.DataTree, tmp_path: Path) -> None:
    begun = store.copy()
    begun.attrs["complete"] = False
    with pytest.raises(AnalysisError, match="not finished"):
        report(begun, tmp_path / "made")
    assert not (tmp_path / "made").exists()


# ---------------------------------------------------------------- the command


def test_the_command(finished: Tiny, tmp_path: Path) -> None:
    said = crackdask("report", finished.store, "--to", tmp_path / "made")
    assert said.code == 0, said.err
    assert said.out.splitlines()[-1] == str(tmp_path / "made" / "report.html")
    assert "not drawn: Registration: the states were not registered" in said.out
    assert "warning: Only" in said.out
    page = (tmp_path / "made" / "report.html").read_text(encoding="utf-8")
    assert "<h1>crackdask report: tiny</h1>" in page
    assert len(pictures(page)) >= 4
    words = (
        rf"crackdask explore {finished.store.name} --show &#x27;particle=(\d+)&amp;at=\[([\d.]+),([\d.]+),([\d.]+)\]"
    )
    label, *place = (int(float(number)) for number in re.findall(words, page)[0])
    assert int(open_store(finished.store)["volumes"].label[(0, *place)]) == label


def test_the_default_folder_lies_beside_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "crackdask.cli.report.write_report", lambda path, folder: Report(folder / path.name, (), {}, (), ())
    )
    said = crackdask("report", tmp_path / "out.zarr")
    assert said.out.strip() == str(tmp_path / "out-report" / "out.zarr")


def test_mistakes_are_told(tiny: Tiny) -> None:
    said = crackdask("report", tiny.folder / "nothing.zarr")
    assert said.code == 2
    assert "error:" in said.err
    assert tiny.run("--until", "read").code == 0
    said = crackdask("report", tiny.store)
    assert said.code == 2
    assert "run it to its end" in said.err
    assert not (tiny.folder / "out-report").exists()


def test_without_matplotlib(
    finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name == "crackdask.figures"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = crackdask("report", finished.store, "--to", tmp_path / "made")
    assert said.code == 2
    assert "matplotlib, which is not installed: pip install 'crackdask[report]'" in said.err
    assert not (tmp_path / "made").exists()
    cli_demo._report_if_it_can(finished.store)  # the demo goes on without
    assert capsys.readouterr().out.startswith("\nno report: a report needs matplotlib")
