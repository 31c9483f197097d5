"""How a cycler's text file is written: encoding, lines before the table, separator, decimal mark."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from crackdask.sources.base import SourceError
from crackdask.storage.locations import Place, opened

#: Bytes at the beginning of a file, and how many at most where its header says that it is longer.
_LOOKED_AT, _LONGEST_HEADER = 2**18, 2**26
_ROWS = 60  # of the table, from which it is told how numbers are written
#: EC-Lab's line, and Basytec's.
_STARTED = re.compile(r"(acquisition started on|start of test)\s*:\s*(.+)", re.IGNORECASE)
_LOOP = re.compile(r"loop \d+ from point number (\d+)", re.IGNORECASE)
_HEADER_LINES = re.compile(r"nb header lines\s*:\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a text file is written.

    Attributes
    ----------
    encoding, separator, decimal
        As pandas takes them.
    skipped
        Lines before the headings.
    headings
        Of the columns.
    started
        When the recording began, as it is written there; nothing where it is not.
    by_ec_lab
        Whether it is EC-Lab that writes so.
    loops
        Rows with which a loop over several techniques begins.
    """

    encoding: str
    separator: str
    decimal: str
    skipped: int
    headings: tuple[str, ...]
    started: str = ""
    by_ec_lab: bool = False
    loops: tuple[int, ...] = ()


def layout_of(path: Place) -> Layout:
    """Return how a text file is written, from its first lines.

    Raises
    ------
    SourceError
        If it is empty or no table of numbers.
    """
    with opened(path) as file:
        head = file.read(_LOOKED_AT)
        if found := _HEADER_LINES.search(head[:4096].decode("latin-1")):
            while head.count(b"\n") < int(found[1]) + _ROWS and len(head) < _LONGEST_HEADER:
                if not (more := file.read(_LOOKED_AT)):
                    break
                head += more
    if not head.strip():
        raise SourceError(f"{path}: the file is empty; copy it again from the cycler")
    if b"\0" in head[:4096] and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(
            f"{path}: not a text file; export it as text (.mpt or .csv), or give the .mpr under that name"
        )
    encoding = _encoding(head)
    lines = head.decode(encoding, errors="replace").splitlines()
    if len(head) % _LOOKED_AT == 0 and len(lines) > 1:
        lines.pop()  # cut in the middle
    label, started = next((found.groups() for line in lines[:200] if (found := _STARTED.search(line))), ("", ""))
    told = next((int(found[1]) for line in lines[:5] if (found := _HEADER_LINES.search(line))), 0)
    at = told - 1 if told else _headings_at(lines)
    if not 0 <= at < len(lines):
        raise SourceError(f"{path}: found no table of numbers under a line of headings; export it again, with headings")
    rows = [line for line in lines[at + 1 : at + _ROWS] if line.strip()]
    separator = _separator(lines[at])
    headings = next(csv.reader([lines[at]], delimiter=separator))
    _refuse_wider(rows, separator, len(headings), path)
    while headings and not headings[-1].strip():  # a separator at the end of each line
        headings.pop()
    if not rows:
        raise SourceError(f"{path}: the table has headings and no row; copy it again, or leave it out")
    loops = tuple(int(found[1]) for line in lines[:at] if (found := _LOOP.match(line.strip())))
    named = tuple(each.strip() for each in headings)
    by_ec_lab = label.lower().startswith("acquisition")
    return Layout(encoding, separator, _decimal(rows, separator), at, named, started.strip(), by_ec_lab, loops)


def _refuse_wider(rows: Sequence[str], separator: str, columns: int, path: Place) -> None:
    """Raise if rows have more cells than there are headings: nobody knows which number stands under which."""
    cells = [len(row) - next((n for n, cell in enumerate(reversed(row)) if cell.strip()), len(row))
             for row in csv.reader(rows, delimiter=separator)]  # fmt: skip
    if sum(count > columns for count in cells) > len(cells) / 2:
        marks = " (decimal commas, where commas part the cells?)" if separator == "," else ""
        raise SourceError(
            f"{path}: {max(cells)} cells in rows under {columns} headings{marks}; export it with decimal points, or "
            "with semicolons or tabs between cells"
        )


def _encoding(head: bytes) -> str:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _numbers(line: str, separator: str) -> int:
    """Return how many cells of a line are numbers, with either decimal mark, or dates."""
    cells = next(csv.reader([line], delimiter=separator), [])
    return sum(bool(re.fullmatch(r"\s*[-+]?[\d.,]*\d[\d.,]*([eE][-+]?\d+)?\s*", cell)) for cell in cells)


def _headings_at(lines: Sequence[str]) -> int:
    """Return the widest line that is no numbers and has numbers below it, as many cells as it has itself.

    The first of equal ones: above the record may stand small tables of settings.
    """
    best, widest = -1, 1
    for at, line in enumerate(lines[:-1]):
        separator = _separator(line)
        cells = sum(bool(cell.strip()) for cell in next(csv.reader([line], delimiter=separator), []))
        if cells <= widest or _numbers(line, separator):
            continue
        if any(_is_row(below, separator, cells) for below in lines[at + 1 : at + 5]):
            best, widest = at, cells
    return best


def _is_row(line: str, separator: str, cells: int) -> bool:
    wide = len(next(csv.reader([line], delimiter=separator), []))
    return wide >= cells - 1 and _numbers(line, separator) >= 2


def _separator(heading: str) -> str:
    """Return what parts the headings: a tab, a semicolon, or a comma."""
    return next((mark for mark in "\t;" if mark in heading), ",")


def _decimal(rows: Sequence[str], separator: str) -> str:
    """Return the decimal mark: a comma where cells have one and no cell that is a number has a point."""
    cells = [cell.strip() for row in csv.reader(rows, delimiter=separator) for cell in row]
    commas = sum(bool(re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", cell)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?\d*\.\d+([eE][-+]?\d+)?", cell)) for cell in cells)
    return "," if commas > points else "."
