"""Tables as Parquet, CSV and Excel: each is made once, a bounded number of rows at a time, for all files at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray as xr
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from crackdask.analysis.parameters import AnalysisError
from crackdask.export.frames import Frame
from crackdask.export.properties import ExportError
from crackdask.export.tables import TABLES, Results, frame
from crackdask.spreadsheet import shown_as_text, text_cells
from crackdask.storage.locations import Place
from crackdask.store.open import open_store

FORMATS = ("parquet", "csv", "xlsx")
#: What a sheet of Excel holds, its header among the rows.
SHEET_ROWS, SHEET_COLUMNS = 1_048_576, 16_384
WORKBOOK = "tables.xlsx"

Sink = Callable[[pa.RecordBatch], None]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    files
        In the order in which they were written.
    notes
        What could not be written, and why.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export_tables(
    store: str | Place | xr.DataTree,
    folder: str | Path,
    tables: Sequence[str] = (),
    formats: Sequence[str] = (),
) -> Exported:
    """Write tables of a finished store and of its analysis.

    Every file has a header, one row for each particle and state (or whatever the table is of), and the units: in
    Parquet as metadata of the columns, beside CSV as ``columns.csv``, in Excel as the sheet ``columns``. Parquet keeps
    every type; CSV and Excel know numbers and text only. What is not a number is left empty. In CSV and Excel, text
    that a spreadsheet would run as a formula (a state named ``=...``) begins with an apostrophe.

    Parameters
    ----------
    store
        Where it is, or what ``crackdask.open`` returned.
    folder
        Where to write ``NAME.parquet``, ``NAME.csv`` and ``tables.xlsx``.
    tables
        Of :data:`TABLES`; none for all that the store carries.
    formats
        "parquet", "csv" and "xlsx"; none for all tables as Parquet, and as CSV but the long ones.

    Raises
    ------
    ExportError
        If a table or format is unknown, or a table that was named does not fit into a sheet of Excel.
    AnalysisError
        If the store is not finished, or does not carry a table that was named.
    """
    _known("table", tables, TABLES)
    _known("format", formats, FORMATS)
    tree = store if isinstance(store, xr.DataTree) else open_store(store)
    if "particles" not in tree.children:
        where = tree.encoding.get("source", "the store") if isinstance(store, xr.DataTree) else store
        raise ExportError(f"{where} has no particle table yet; `crackdask run RECIPE --store {where}` finishes it")
    notes: list[str] = []
    with _told(notes):
        frames = _frames(tree, tables, notes)
        plan = _plan(frames, formats, bool(tables), notes)
        Path(folder).mkdir(parents=True, exist_ok=True)
        files = tuple(_write(frames, plan, Path(folder)))
    return Exported(files, tuple(notes))


def _known(what: str, wanted: Iterable[str], there: Iterable[str]) -> None:
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise ExportError(f"no {what} is named {', '.join(map(repr, unknown))}; there are {', '.join(there)}")


@contextmanager
def _told(notes: list[str]) -> Iterator[None]:
    """Collect what the analysis warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    notes += dict.fromkeys(str(warning.message) for warning in caught)


def _frames(tree: xr.DataTree, names: Sequence[str], notes: list[str]) -> list[Frame]:
    """Return the tables that were named, or all that there are."""
    results, frames = Results(tree), []
    for name in dict.fromkeys(names or TABLES):
        if not names and name == "cracks" and name not in tree.children:
            continue
        try:
            frames.append(frame(results, name))
        except AnalysisError as error:
            if names or name == "particles":
                raise
            notes.append(f"{name}: {error}")
    return frames


def _plan(frames: list[Frame], formats: Sequence[str], named: bool, notes: list[str]) -> dict[str, set[str]]:
    """Return which tables are written in which format."""
    names = {table.name for table in frames}
    if not formats:
        long = {name for name in names if TABLES[name].long and not named}
        if long:
            notes.append(f"not as CSV, for their size: {', '.join(sorted(long))} (--format csv writes them too)")
        return {"parquet": names, "csv": names - long}
    plan = dict.fromkeys(dict.fromkeys(formats), names)
    if "xlsx" in plan:
        wide = [table for table in frames if table.rows >= SHEET_ROWS or len(table.columns) > SHEET_COLUMNS]
        for table in wide:
            words = (
                f"{table.name}: {table.rows} rows and {len(table.columns)} columns do not fit into a sheet of Excel "
                f"({SHEET_ROWS - 1} rows below the header, {SHEET_COLUMNS} columns); it is not in the workbook: "
                f"write it with --format parquet or csv"
            )
            if named:
                raise ExportError(words)
            notes.append(words)
        plan["xlsx"] = names - {table.name for table in wide}
    return plan


def _write(frames: list[Frame], plan: dict[str, set[str]], folder: Path) -> Iterator[Path]:
    """Write every table once through, into all of its files."""
    with ExitStack() as whole:
        book = whole.enter_context(_workbook(folder / WORKBOOK, frames, plan["xlsx"])) if plan.get("xlsx") else None
        for table in frames:
            with ExitStack() as files:
                sinks: list[Sink] = []
                for kind, opened in (("parquet", _parquet), ("csv", _csv)):
                    if table.name in plan.get(kind, ()):
                        path = folder / f"{table.name}.{kind}"
                        sinks.append(files.enter_context(opened(path, table)))
                        yield path
                if book is not None and table.name in plan["xlsx"]:
                    sinks.append(book(table))
                for batch in table.batches():
                    for sink in sinks:
                        sink(batch)
    if book is not None:
        yield folder / WORKBOOK
    if plan.get("csv"):
        with _under_its_name(folder / "columns.csv") as partial:
            text_cells(meanings([table for table in frames if table.name in plan["csv"]])).to_csv(partial, index=False)
        yield folder / "columns.csv"


def meanings(frames: list[Frame]) -> pd.DataFrame:
    """Return what every column of some tables is."""
    rows = [
        (table.name, table.title, column.name, column.dtype, column.units, column.long_name)
        for table in frames
        for column in table.columns
    ]
    return pd.DataFrame(rows, columns=["table", "one row for", "column", "dtype", "units", "meaning"])


@contextmanager
def _under_its_name(path: Path) -> Iterator[Path]:
    """Give a file its name only when it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _parquet(path: Path, table: Frame) -> Iterator[Sink]:
    with _under_its_name(path) as partial, pq.ParquetWriter(partial, table.schema, compression="zstd") as writer:
        yield lambda batch: writer.write_batch(batch, row_group_size=max(1, batch.num_rows))


@contextmanager
def _csv(path: Path, table: Frame) -> Iterator[Sink]:
    with _under_its_name(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        pd.DataFrame(columns=[shown_as_text(column.name) for column in table.columns]).to_csv(file, index=False)
        yield lambda batch: text_cells(batch.to_pandas()).to_csv(file, index=False, header=False)


@contextmanager
def _workbook(path: Path, frames: list[Frame], names: set[str]) -> Iterator[Callable[[Frame], Sink]]:
    """Open a workbook of a sheet a table, after one that says what the columns are; rows leave the memory at once."""
    with _under_its_name(path) as partial, TemporaryDirectory(dir=path.parent, prefix=".rows-") as rows:
        book = xlsxwriter.Workbook(str(partial), {"constant_memory": True, "tmpdir": rows})
        bold = book.add_format({"bold": True})

        def table_sheet(table: Frame) -> Sink:
            write = _sheet(book, bold, table.name, [column.name for column in table.columns])
            return lambda batch: write(zip(*(column.to_pylist() for column in batch.columns), strict=True))

        told = meanings([table for table in frames if table.name in names])
        _sheet(book, bold, "columns", list(told.columns))(told.itertuples(index=False))
        try:
            yield table_sheet
        except BaseException:
            with suppress(Exception):  # lets go of the files, which are about to be removed
                book.close()
            raise
        try:
            book.close()
        except FileCreateError as error:  # a full disk, in the words of all other files
            raise error.args[0] from None


def _sheet(book: Any, bold: Any, name: str, columns: Sequence[str]) -> Callable[[Iterable[Sequence[Any]]], None]:
    """Add a sheet with a header to a workbook, and return what writes further rows below."""
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, len(columns) - 1, 14)
    for place, column in enumerate(columns):
        sheet.write_string(0, place, shown_as_text(column), bold)
    below = count(1)

    def write(rows: Iterable[Sequence[Any]]) -> None:
        # The rows come first: a number is taken for each row, not for the end of them.
        for row, line in zip(rows, below, strict=False):
            for place, value in enumerate(row):
                if isinstance(value, str):
                    sheet.write_string(line, place, shown_as_text(value))
                elif isinstance(value, bool):
                    sheet.write_boolean(line, place, value)
                elif value is not None:
                    sheet.write_number(line, place, value)

    return write
