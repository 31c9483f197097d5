"""Cyclers' text files as they are found: minus signs, commas in numbers, headers of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crackdask.sources.cycler import CyclerRecord, Reading, read_record

TIME = np.arange(0.0, 2000.0, 10.0)
CURRENT = np.where(TIME < 1000, 1500.0, -1500.0)
VOLTAGE = 3.7 + CURRENT / 1e4


def table(separator: str = ",") -> list[str]:
    rows = zip(TIME, VOLTAGE, CURRENT, strict=True)
    return [separator.join(("time/s", "Ewe/V", "I/mA")), *(separator.join(f"{x:.2f}" for x in row) for row in rows)]


def read(path: Path, text: str) -> CyclerRecord:
    path.write_text(text + "\n", encoding="utf-8")
    return read_record([path], Reading({}))


def test_minus_signs_of_typographers(tmp_path: Path) -> None:
    record = read(tmp_path / "cell.csv", "\n".join(table()).replace("-", "\u2212"))
    np.testing.assert_array_equal(record.current, CURRENT)


def test_rows_with_more_cells_than_headings_are_left_out_and_told(tmp_path: Path) -> None:
    """A comma in a number of a thousand and more: the current of such a row would be 1 mA."""
    lines = table()
    lines[150:153] = [line.replace("-1500", "-1,500") for line in lines[150:153]]
    record = read(tmp_path / "cell.csv", "\n".join(lines))
    assert sorted(set(record.current)) == [-1500.0, 1500.0]
    assert record.rows == len(TIME) - 3
    assert any("3 rows without a number were left out" in note for note in record.notes)
    whole = read(tmp_path / "whole.csv", "\n".join(line + ",," for line in table()))  # they are no cells
    assert whole.rows == len(TIME)


def test_a_header_longer_than_what_is_looked_at(tmp_path: Path) -> None:
    settings = ["Ns                  " + "1                   " * 100] * 300
    lines = ["EC-Lab ASCII FILE", f"Nb header lines : {len(settings) + 3}", *settings, *table("\t")]
    record = read(tmp_path / "cell.mpt", "\n".join(lines))
    assert record.rows == len(TIME)
