"""What EC-Lab's own files hold beside times, voltages and currents: techniques in a loop, rests, headings of no row.

Written here in the form that the instrument's files have; none of them is among the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crackdask.sources import SourceError
from crackdask.sources.cycler import CyclerRecord, Reading, read_record
from tests.support.mpr import write_mpr

START = datetime(2024, 1, 10, 11, 2, 29, 886000)
#: Rows of one loop: the technique of each file, ten seconds a row, and the current that flows in it.
TECHNIQUES = {"ocv": (12, 0.0), "charge": (40, 2.0), "discharge": (25, -2.0)}
LOOPS = 3


def read(*paths: Path, **columns: str) -> CyclerRecord:
    return read_record(list(paths), Reading(columns))


def whole() -> pd.DataFrame:
    """Return all rows of the cell, with the technique and the loop of each; the current flowed since the row before."""
    names = [(loop, name) for loop in range(LOOPS) for name, (rows, _) in TECHNIQUES.items() for _ in range(rows)]
    table = pd.DataFrame(names, columns=["loop", "technique"])
    table["time"] = 10.0 * np.arange(len(table))
    table["current"] = [TECHNIQUES[name][1] for name in table.technique]
    table["added"] = table.current * 10 / 3600
    table["charge"] = table.added.cumsum()
    table["voltage"] = 3.7 + table.charge
    return table


def technique(name: str) -> tuple[pd.DataFrame, list[int]]:
    """Return the rows of one technique's file, its charge from the beginning of each loop, and where loops begin."""
    table = whole()
    mine = table.loc[table.technique == name].reset_index(drop=True)
    mine["charge"] = mine.groupby("loop").added.cumsum()
    return mine, np.flatnonzero(mine.loop.diff() != 0).tolist()


def write_mpt(path: Path, table: pd.DataFrame, columns: Sequence[str], loops: Sequence[int] = (), **head: str) -> Path:
    """Write a text file of EC-Lab's: without an end of its last line, as all are, and with a tab behind headings."""
    ends = [*loops[1:], len(table)] if loops else []
    lines = [f"Acquisition started on : {head.get('started', f'{START:%m/%d/%Y %H:%M:%S.%f}'[:-3])}"]
    lines += [f"Number of loops : {len(loops)}"] if loops else []
    lines += [f"Loop {n} from point number {a} to {b - 1}" for n, (a, b) in enumerate(zip(loops, ends, strict=True))]
    lines = ["EC-Lab ASCII FILE", f"Nb header lines : {len(lines) + 4}", "", *lines]
    rows = ["\t".join(f"{value:.9E}".replace("E+", "E+0").replace("E-", "E-0") for value in row)
            for row in table[list(columns)].to_numpy(float)]  # fmt: skip
    headings = "".join(f"{_HEADINGS[name]}\t" for name in columns) + head.get("more", "")
    path.write_text("\r\n".join([*lines, headings, *rows]), encoding="cp1252", newline="")
    return path


_HEADINGS = {"mode": "mode", "time": "time/s", "voltage": "<Ewe/V>", "current": "I/mA", "charge": "(Q-Qo)/mA.h",
             "coulomb": "(Q-Qo)/C", "sequence": "dQ/mA.h"}  # fmt: skip


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", ["charge", "discharge"])
def test_a_charge_that_begins_again_in_each_loop_goes_on(name: str, binary: bool, tmp_path: Path) -> None:
    table, loops = technique(name)
    if binary:
        pytest.importorskip("galvani", reason="no galvani, which reads .mpr: pip install datalab-org-galvani")
        path = write_mpr(table, tmp_path / "c.mpr", START, charge=True, loops=loops)
    else:
        path = write_mpt(tmp_path / "c.mpt", table, ["time", "voltage", "current", "charge"], loops)
    record = read(path)
    np.testing.assert_allclose(record.charge, table.added.cumsum() - table.added[0], atol=1e-9)
    assert not record.notes


def test_a_technique_that_jumps_back_by_itself_counts_on(tmp_path: Path) -> None:
    table, loops = technique("charge")
    table["charge"] = table.added.cumsum()
    record = read(write_mpt(tmp_path / "c.mpt", table, ["time", "voltage", "current", "charge"], loops))
    np.testing.assert_allclose(record.charge, table.charge - table.charge[0], atol=1e-9)


def test_without_its_header_a_charge_that_begins_again_is_seen(tmp_path: Path) -> None:
    table, _ = technique("charge")
    table["charge"] -= table.groupby("loop").charge.transform("first")
    table["time"] = 10.0 * np.arange(len(table))
    record = read(write_mpt(tmp_path / "c.mpt", table, ["time", "voltage", "charge"]))
    assert record.charge[-1] == pytest.approx(LOOPS * table.charge.max())
    with pytest.raises(SourceError, match=r"'\(Q-Qo\)/mA.h' begins again in row 41 of the table"):
        read(tmp_path / "c.mpt", charge="(Q-Qo)/mA.h")


def test_in_a_pause_for_other_techniques_no_current_is_taken_to_flow(tmp_path: Path) -> None:
    table, loops = technique("charge")
    record = read(write_mpt(tmp_path / "c.mpt", table, ["time", "voltage", "current"], loops))
    assert record.charge[-1] == pytest.approx(table.added[1:].sum())


def test_files_of_techniques_in_a_loop_are_one_record(tmp_path: Path) -> None:
    paths = []
    for name in TECHNIQUES:
        table, loops = technique(name)
        table["mode"] = 3 if name == "ocv" else 1
        columns = ["mode", "time", "voltage"] + ([] if name == "ocv" else ["current", "charge"])
        paths.append(write_mpt(tmp_path / f"{name}.mpt", table, columns, loops))
    record, true = read(*reversed(paths)), whole()
    assert record.rows == len(true)
    assert record.start == START
    np.testing.assert_allclose(record.time, true.time, atol=1e-3)
    np.testing.assert_allclose(record.voltage, true.voltage, atol=1e-6)
    np.testing.assert_allclose(record.current, true.current, atol=1e-6)
    first = true.added[true.technique.ne("ocv") & (true.loop == 0)].groupby(true.technique).first()
    assert record.charge[-1] == pytest.approx(true.charge.iloc[-1] - first.sum())  # what a file's first row adds


def test_at_open_circuit_no_current_flows_and_elsewhere_it_has_to_be_told(tmp_path: Path) -> None:
    table, _ = technique("ocv")
    path = write_mpt(tmp_path / "c.mpt", table.assign(mode=3), ["mode", "time", "voltage"])
    record = read(path)
    assert record.rows == len(table)
    assert not record.current.any()
    assert not record.charge.any()
    modes = np.where(np.arange(len(table)) == 30, 1, 3)
    path = write_mpt(tmp_path / "d.mpt", table.assign(mode=modes), ["mode", "time", "voltage"])
    with pytest.raises(
        SourceError, match="no column of the current, and its row 31 is none at rest; export the current"
    ):
        read(path)


def test_the_charge_in_coulomb_is_read_before_the_current_and_that_of_a_sequence_is_not(tmp_path: Path) -> None:
    table, _ = technique("charge")
    table = table.assign(coulomb=3.6 * table.charge, sequence=table.charge, current=2 * table.current)
    # The current is that at the end of each row, and twice what flowed: only the charge tells it.
    record = read(write_mpt(tmp_path / "c.mpt", table[:40], ["time", "voltage", "sequence", "coulomb", "current"]))
    assert record.charge[-1] == pytest.approx(table.charge[39] - table.charge[0])
    record = read(write_mpt(tmp_path / "d.mpt", table[:40], ["time", "voltage", "sequence", "current"]))
    assert record.charge[-1] == pytest.approx(2 * (table.charge[39] - table.charge[0]))


@pytest.mark.parametrize("more", ["x\t\tEwe-Ece/V", "x\tPwe/W\t"])
def test_rows_may_be_shorter_than_the_headings(more: str, tmp_path: Path) -> None:
    table, loops = technique("charge")
    record = read(write_mpt(tmp_path / "c.mpt", table, ["time", "voltage", "current"], loops, more=more))
    assert record.rows == len(table)
    np.testing.assert_allclose(record.current, table.current)
    headings = ["time", "voltage"]
    with pytest.raises(SourceError, match=r"rows end before 'I/mA' .*; export it again"):
        read(write_mpt(tmp_path / "d.mpt", table, headings, more="x\tI/mA"))


@pytest.mark.parametrize("started", ["04/03/2021 11:04:06.500", "04.03.2021 11:04:06.500"])
def test_ec_lab_writes_the_month_first(started: str, tmp_path: Path) -> None:
    table, _ = technique("charge")
    path = write_mpt(tmp_path / "c.mpt", table, ["time", "voltage", "current"], started=started)
    since = timedelta(seconds=float(table.time[0]))
    record = read(path)
    assert record.start == datetime(2021, 4, 3, 11, 4, 6, 500000) + since
    assert not record.notes
    told = read_record([path], Reading({}, dates="day first"))
    assert told.start == datetime(2021, 3, 4, 11, 4, 6, 500000) + since


def test_a_binary_file_of_no_row_is_to_be_left_out(tmp_path: Path) -> None:
    pytest.importorskip("galvani", reason="no galvani, which reads .mpr: pip install datalab-org-galvani")
    path = write_mpr(technique("charge")[0][:0], tmp_path / "c.mpr", START)
    with pytest.raises(SourceError, match="the table has no row, as of a technique that only waits; leave it out"):
        read(path)


def test_of_a_binary_file_one_column_may_be_unknown(tmp_path: Path) -> None:
    """Its width is what the rows leave to it; of two nobody would know which is the wider."""
    pytest.importorskip("galvani", reason="no galvani, which reads .mpr: pip install datalab-org-galvani")
    table, _ = technique("charge")
    path = write_mpr(table[:40], tmp_path / "c.mpr", START)
    data, current, step = path.read_bytes(), b"\x0b\x00", b"\x07\x00"
    path.write_bytes(data.replace(current + step, b"\x73\x03" + step))
    record = read(path)
    np.testing.assert_allclose(record.voltage, table.voltage[:40], atol=1e-6)
    assert record.charge[-1] == pytest.approx(table.charge[39] - table.charge[0])
    path.write_bytes(data.replace(current + step, b"\x73\x03\x74\x03"))
    with pytest.raises(SourceError, match=r"Unknown column ID 883 .* column ID 884 .*; export it as text \(\.mpt\)"):
        read(path)
