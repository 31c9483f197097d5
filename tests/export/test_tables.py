"""Tables for other tools: the same numbers as in the store, with their types and units."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr

import crackdask as package
from crackdask import analyse
from crackdask.analysis.parameters import AnalysisError
from crackdask.export import TABLES, export_tables, write
from crackdask.export.frames import Frame, pieces
from crackdask.phantom import State
from crackdask.schema import CONTACTS, PARTICLES, SHELLS
from crackdask.spreadsheet import text_cells
from tests.support.tabled import balls, tables
from tests.support.tiny import Tiny, crackdask

COLUMNS = ["state", "voltage", "step", "cycle", "particle", *PARTICLES]


LONG = ("shells", "histograms")


READERS: dict[str, Any] = {
    "csv": pd.read_csv,
    "parquet": pd.read_parquet,
}


@pytest.fixture(scope="module")
def folder(finished: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an export of everything in every format."""
    made = tmp_path_factory.mktemp("tables")
    said = crackdask("export", finished.store, "--out", made, *(w for k in write.FORMATS for w in ("--format", k)))
    assert said.code == 0, said.err
    return made


@pytest.fixture(scope="module")
def electrode() -> xr.DataTree:
    """Return a store of 40 particles in five states, without a voxel."""
    radii = np.linspace(4, 11, 40)
    rng = np.random.default_rng(2)
    change = np.cumsum(rng.normal(-2, 6, (5, 40)), axis=0)
    return tables(balls(radii, 5), 200 + np.zeros((5, 40, 11)) + change[..., None])


@pytest.fixture(scope="module")
def analysed(electrode: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("analysed")
    assert not export_tables(electrode, made, [name for name in TABLES if name in ANALYSED], ["parquet", "csv"]).notes
    return made


# ---------------------------------------------------------------- the tables of the store


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_row_for_each_state_and_particle(finished: Tiny, folder: Path, kind: str) -> None:
    frame = READERS[kind](folder / f"particles.{kind}")
    assert list(frame.columns) == COLUMNS
    stored = xr.open_zarr(finished.store, group="particles")
    assert frame[["state", "particle"]].to_numpy().tolist() == [
        [str(state), particle] for state in stored.state.values for particle in stored.particle.values
    ]
    for name in PARTICLES:
        np.testing.assert_array_equal(frame[name].to_numpy(), stored[name].values.ravel(), err_msg=name)
    for name in ("voltage", "cycle", "step"):
        assert frame.drop_duplicates("state")[name].tolist() == stored[name].values.tolist()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", LONG)
def test_long_tables_have_the_stores_order(finished: Tiny, folder: Path, name: str, kind: str) -> None:
    frame = READERS[kind](folder / f"{name}.{kind}")
    stored = xr.open_zarr(finished.store, group=name).load()
    dims = stored.voxels.dims
    assert list(frame.columns[:3]) == list(dims)
    assert frame.voxels.sum() > 0
    for column in stored.data_vars:
        np.testing.assert_array_equal(frame[column].to_numpy().reshape(stored.voxels.shape), stored[column])
    for place in (0, len(frame) // 2, len(frame) - 1):
        row = frame.iloc[place]
        assert stored.voxels.sel({dim: row[dim] for dim in dims}) == row.voxels


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_contacts_and_transforms(finished: Tiny, folder: Path, kind: str) -> None:
    stored = xr.open_zarr(finished.store, group="contacts").load()
    frame = READERS[kind](folder / f"contacts.{kind}")
    assert list(frame.columns) == list(CONTACTS)
    for name in CONTACTS:
        assert frame[name].tolist() == stored[name].values.tolist()
    moved = xr.open_zarr(finished.store, group="transforms").load()
    frame = READERS[kind](folder / f"transforms.{kind}")
    assert frame.state.tolist() == moved.state.values.tolist()
    for row, col in np.ndindex(4, 4):
        np.testing.assert_array_equal(frame[f"matrix_{row}{col}"], moved.matrix[:, row, col])
    np.testing.assert_array_equal(frame.residual_voxels, moved.residual_voxels)


def test_parquet_keeps_types_units_and_meanings(finished: Tiny, folder: Path) -> None:
    found = pd.read_parquet(folder / "particles.parquet").dtypes
    for name, variable in PARTICLES.items():
        assert found[name] == np.dtype(variable.dtype), name
    assert (found["particle"], found["voltage"], found["cycle"]) == (np.uint32, np.float64, np.int64)
    assert pd.api.types.is_string_dtype(found["state"])
    assert pd.api.types.is_string_dtype(found["step"])
    shells = pd.read_parquet(folder / "shells.parquet").dtypes
    assert {name: str(shells[name]) for name in SHELLS} == {name: v.dtype for name, v in SHELLS.items()}
    schema = pq.read_schema(folder / "particles.parquet")
    for name, variable in PARTICLES.items():
        told = {key.decode(): value.decode() for key, value in schema.field(name).metadata.items()}
        assert {k: told[k] for k in ("units", "long_name")} == variable.attributes
    assert pq.read_table(folder / "particles.parquet").column("state").to_pylist()[0] == "pristine"


def test_csv_reads_back_with_the_same_kinds(finished: Tiny, folder: Path) -> None:
    parquet, csv = (READERS[kind](folder / f"particles.{kind}") for kind in ("parquet", "csv"))
    assert [t.kind for t in csv.dtypes[5:]] == [t.kind.replace("u", "i") for t in parquet.dtypes[5:]]
    told = pd.read_csv(folder / "columns.csv")
    assert set(told["table"]) == {path.stem for path in folder.glob("*.parquet")}
    ours = told[told["table"] == "particles"].set_index("column")
    assert ours.index.tolist() == COLUMNS
    assert (ours.loc["volume_um3", "units"], ours.loc["voxels", "dtype"]) == ("um3", "uint32")


def test_excel(folder: Path) -> None:
    book = openpyxl.load_workbook(folder / "tables.xlsx", read_only=True)
    assert book.sheetnames == ["columns", *(n for n in TABLES if (folder / f"{n}.parquet").exists())]
    assert {"particles", "shells", "histograms"} <= set(book.sheetnames)
    for name in book.sheetnames[1:]:
        wanted = pd.read_parquet(folder / f"{name}.parquet")
        head, *rows = book[name].iter_rows(values_only=True)
        assert list(head) == list(wanted.columns)
        assert len(rows) == len(wanted)
        found = pd.DataFrame(rows, columns=head)
        for column in wanted:
            if wanted[column].dtype.kind == "f":
                np.testing.assert_allclose(found[column].astype(float), wanted[column], rtol=1e-15)
            else:
                assert found[column].tolist() == wanted[column].tolist(), column
    book.close()


# ---------------------------------------------------------------- the tables of the analysis

ANALYSED = (
    "damage", "changes", "classes", "extremes", "pies", "charged", "discharged", "paths", "tree", "ranking",
    "intensity", "rmpi", "rmpi_by_size", "rmpi_per_volume", "profiles",
)  # fmt: skip


def test_damage_with_its_classes(electrode: xr.DataTree, analysed: Path) -> None:
    found = pd.read_parquet(analysed / "damage.parquet")
    wanted = analyse.damage(electrode)
    assert list(found.columns) == [
        "state", "voltage", "step", "cycle", "particle", "radius_um", "damage", "noise_error", "scan_error",
        "standard_error", "scale_error", "core_grey", "severity_number",
    ]  # fmt: skip
    for name in ("damage", "noise_error", "scan_error", "standard_error", "core_grey"):
        np.testing.assert_array_equal(found[name], wanted[name].values.ravel())
    assert found.scale_error.tolist() == wanted.scale_error.values.tolist() * 5
    np.testing.assert_array_equal(found.severity_number, analyse.classes(wanted).severity_number.values.ravel())
    assert found.particle.dtype == np.uint32
    assert found.radius_um.tolist() == wanted.radius_um.values.tolist() * 5
    told = json.loads(pq.read_schema(analysed / "damage.parquet").metadata[b"crackdask"])
    assert (told["reference"], told["noise_source"]) == ("pristine", "measured in the reference")


@pytest.mark.parametrize(
    ("name", "dims", "wanted"),
    [
        ("changes", ("state", "particle"), lambda store: analyse.changes(store)),
        ("classes", ("state", "severity"), lambda store: analyse.classes(store)[["count", "share"]]),
        ("extremes", ("particle",), lambda store: analyse.extremes(store)[["least_state", "most_state"]]),
        ("charged", ("particle",), lambda store: analyse.damaged_on_charge(store)[["anywhere", "at_top"]]),
        ("discharged", ("particle",), lambda store: analyse.healed_on_discharge(store)[["healed"]]),
        ("paths", ("particle",), lambda store: analyse.paths(store)[["path"]]),
        ("tree", ("branch",), lambda store: analyse.paths(store).drop_vars(["path", "particle", "before", "after"])),
        ("ranking", ("path",), lambda store: analyse.ranking(analyse.paths(store))),
        ("rmpi_by_size", ("state", "region", "decile"), lambda store: analyse.rmpi(store, by="decile")),
        ("rmpi_per_volume", ("state", "decile"), lambda store: analyse.rmpi_per_volume(store)),
        ("profiles", ("state", "shell", "quartile"), lambda store: analyse.profiles(store, by="quartile")),
    ],
)
def test_tables_of_the_analysis(electrode: xr.DataTree, analysed: Path, name: str, dims: Any, wanted: Any) -> None:
    found, values = pd.read_parquet(analysed / f"{name}.parquet"), wanted(electrode).load()
    assert len(found) == np.prod([values.sizes[dim] for dim in dims])
    for column in values.data_vars:
        flat = values[column].broadcast_like(values[next(iter(values.data_vars))]).transpose(*dims).values.ravel()
        if flat.dtype.kind == "O":
            assert found[column].tolist() == flat.tolist()
        else:
            np.testing.assert_array_equal(found[column], flat, err_msg=column)
            assert found[column].dtype == flat.dtype
    assert READERS["csv"](analysed / f"{name}.csv").shape == found.shape


def test_what_the_store_does_not_carry_is_told(tmp_path: Path) -> None:
    two = [State("pristine", 3.0, "pristine", 0), State("4.2 V", 4.2, "charge", 0)]
    store = tables(balls([5, 6, 7], 2), 200 + np.zeros((2, 3, 7)), two)
    with pytest.raises(AnalysisError, match=r"the tree needs charge at 4\.4 V"):
        export_tables(store, tmp_path, ["tree"])
    names = [name for name in TABLES if name not in ("contacts", "transforms", "cracks")]
    for name in set(names) - {"paths", "tree", "ranking", "discharged", "rmpi_by_size", "rmpi_per_volume", "profiles"}:
        export_tables(store, tmp_path / "some", [name], ["parquet"])
    made = export_tables(store, tmp_path / "all", formats=["parquet"])
    told = {words.partition(":")[0] for words in made.notes}
    assert {"paths", "tree", "ranking", "discharged", "rmpi_by_size", "profiles"} <= told
    assert told.isdisjoint(path.stem for path in made.files)
    assert "cracks" not in told


# ---------------------------------------------------------------- size


def test_rows_are_made_a_bounded_number_at_a_time() -> None:
    values = xr.DataArray(np.arange(2 * 7 * 3).reshape(2, 7, 3), dims=("state", "particle", "shell"), name="voxels")
    made = Frame("shells", "", values.to_dataset().assign_coords(state=["a", "b"]), tuple(map(str, values.dims)))
    for most, groups in ((2, 28), (7, 8), (21, 2), (1000, 1)):
        batches = list(made.batches(most))
        assert len(batches) == groups
        assert max(batch.num_rows for batch in batches) <= most
        assert [v for batch in batches for v in batch["voxels"].to_pylist()] == list(range(42))
        assert [v for batch in batches for v in batch["state"].to_pylist()] == ["a"] * 21 + ["b"] * 21
    assert list(pieces((0,), 5)) == [(slice(0, 0),)]


def test_a_row_group_for_each_batch(finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frame.batches, "__defaults__", (300,))
    export_tables(finished.store, tmp_path, ["histograms"], ["parquet", "csv"])
    file = pq.ParquetFile(tmp_path / "histograms.parquet")
    assert file.num_row_groups == 6
    assert {file.metadata.row_group(k).num_rows for k in range(6)} == {256}
    csv = READERS["csv"](tmp_path / "histograms.csv")
    assert csv.voxels.tolist() == file.read().column("voxels").to_pylist()


def test_what_does_not_fit_into_a_sheet(finished: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "SHEET_ROWS", 1000)
    said = crackdask("export", finished.store, "--format", "xlsx", "--out", tmp_path)
    assert said.code == 0, said.err
    assert "note: histograms: 1536 rows and 4 columns do not fit into a sheet of Excel (999 rows below" in said.out
    assert "write it with --format parquet or csv" in said.out
    assert "histograms" not in openpyxl.load_workbook(tmp_path / "tables.xlsx", read_only=True).sheetnames
    said = crackdask("export", finished.store, "--format", "xlsx", "--table", "histograms", "--out", tmp_path / "none")
    assert said.code == 2
    assert "histograms: 1536 rows" in said.err
    assert not (tmp_path / "none").exists()


# ---------------------------------------------------------------- the command


def test_by_default_long_tables_are_parquet_only(finished: Tiny, tmp_path: Path) -> None:
    said = crackdask("export", finished.store, "--out", tmp_path)
    assert said.code == 0, said.err
    assert said.out.startswith(f"{tmp_path}: ")
    parquet, csv = ({path.stem for path in tmp_path.glob(f"*.{kind}")} for kind in ("parquet", "csv"))
    assert {"particles", "contacts", "transforms", *LONG} <= parquet
    assert parquet - csv == set(LONG)
    assert csv - parquet == {"columns"}
    assert "note: not as CSV, for their size: histograms, shells (--format csv writes them too)" in said.out


def test_the_default_folder_lies_beside_the_store(ran: Tiny) -> None:
    assert crackdask("export", ran.store, "--table", "particles").code == 0
    found = sorted(path.name for path in (ran.folder / "out-export").iterdir())
    assert found == ["columns.csv", "particles.csv", "particles.parquet"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--table", "particle"], "no table is named 'particle'; there are particles, contacts, transforms"),
        (["--format", "xls"], "no format is named 'xls'; there are parquet, csv, xlsx"),
        (["--table", "cracks"], "the store has no table of cracks yet: `crackdask cracks STORE` makes it"),
    ],
)
def test_mistakes(finished: Tiny, tmp_path: Path, words: list[str], wanted: str) -> None:
    said = crackdask("export", finished.store, *words, "--out", tmp_path / "made")
    assert said.code == 2
    assert wanted in said.err
    assert not (tmp_path / "made").exists()


def test_a_store_without_tables_yet(tiny: Tiny) -> None:
    assert tiny.run("--until", "read").code == 0
    for words in ([], ["--labels"]):
        said = crackdask("export", tiny.store, *words)
        assert said.code == 2
        assert f"{tiny.store} has no particle table yet; `crackdask run RECIPE --store {tiny.store}`" in said.err
    said = crackdask("export", tiny.store, "--paint", "voxels")
    assert said.code == 2
    assert "not finished" in said.err


def test_a_write_that_stops_leaves_no_file(
    electrode: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Frame.batches

    def full(self: Frame, most: int = 10) -> Any:
        yield next(once(self, most))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Frame, "batches", full)
    with pytest.raises(OSError, match="No space left"):
        export_tables(electrode, tmp_path, ["particles"], write.FORMATS)
    assert list(tmp_path.iterdir()) == []


def test_what_a_notebook_opened_goes_too(finished: Tiny, tmp_path: Path) -> None:
    made = export_tables(package.open(finished.store), tmp_path, ["contacts"], ["csv"])
    assert [path.name for path in made.files] == ["contacts.csv", "columns.csv"]


def test_text_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"]
    store = tables(balls(np.linspace(4, 11, 40), 5), np.full((5, 40, 11), 200.0))
    store["particles"] = store["particles"].to_dataset().assign_coords(state=names)
    export_tables(store, tmp_path, ["particles"], write.FORMATS)
    with (tmp_path / "particles.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["state"] for row in rows)) == [f"'{name}" for name in names]
    book = openpyxl.load_workbook(tmp_path / "tables.xlsx")
    cells = [row[0] for row in book["particles"].iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert list(dict.fromkeys(cell.value for cell in cells)) == [f"'{name}" for name in names]
    assert pd.read_parquet(tmp_path / "particles.parquet").state.unique().tolist() == names


def test_numbers_below_zero_are_numbers() -> None:
    table = pd.DataFrame({"a": [-0.5, 1.0], "=b": ["-x", None], "c": [True, False], "d": [-1, 2]})
    assert text_cells(table).to_csv(index=False) == "a,'=b,c,d\n-0.5,'-x,True,-1\n1.0,,False,2\n"
    assert text_cells(table.iloc[:0]).to_csv(index=False) == "a,'=b,c,d\n"
