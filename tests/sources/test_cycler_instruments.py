"""Tables as Maccor, Neware, Novonix, Basytec and PEC export them: units in names, dates for times, no signs.

Written here in the form that the instruments' files have; none of them is among the tests.
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

START = datetime(2023, 11, 23, 15, 56, 8)
SECONDS = np.arange(0.0, 1200.0, 10.0)
#: A rest, a discharge, a charge.
MILLIAMPS = np.repeat([0.0, -500.0, 250.0], 40)
VOLTS = 3.7 + np.cumsum(MILLIAMPS) / 1e5
STATES = np.repeat(["R", "D", "C"], 40)
CHARGE = np.cumsum(np.append(0.0, (MILLIAMPS[1:] + MILLIAMPS[:-1]) / 2 * 10 / 3600))


def read(path: Path, columns: dict[str, str] | None = None, positive: str = "charge") -> CyclerRecord:
    return read_record([path], Reading(columns or {}, positive=positive))


def written(path: Path, head: Sequence[str], columns: dict[str, object], separator: str = "\t") -> Path:
    table = pd.DataFrame(columns).to_csv(index=False, sep=separator, lineterminator="\n")
    path.write_text("\n".join([*head, table]), encoding="cp1252")
    return path


def clock(shape: str) -> list[str]:
    return [(START + timedelta(seconds=second)).strftime(shape) for second in SECONDS.tolist()]


def the_same_cell(record: CyclerRecord, start: datetime | None) -> None:
    assert (record.rows, record.start) == (len(SECONDS), start)
    np.testing.assert_allclose(record.time, SECONDS, atol=1e-6)
    np.testing.assert_allclose(record.voltage, VOLTS, atol=1e-6)
    np.testing.assert_allclose(record.current, MILLIAMPS, atol=1e-6)
    np.testing.assert_allclose(record.charge, CHARGE, atol=1e-6)


def maccor(path: Path, amps: np.ndarray = MILLIAMPS / 1000, **columns: object) -> Path:
    """Units in the names of columns, times in days, hours, minutes, and dates beside them."""
    times = [f"  0d 00:{int(second) // 60:02d}:{second % 60:04.1f}" for second in SECONDS.tolist()]
    table = {"Rec#": 1, "Cyc#": 0, "TestTime": times, "Amp-hr": 0.0, "Amps": amps, "Volts": VOLTS, "State": STATES,
             "DPt Time": clock("%m/%d/%Y %H:%M:%S"), **columns}  # fmt: skip
    return written(path, ["Today's Date\t11/28/2023", "Filename:\tcell.057\tProcedure:\tM50.000"], table)


def test_maccor(tmp_path: Path) -> None:
    record = read(maccor(tmp_path / "cell.057"))
    the_same_cell(record, START)
    assert not record.notes


def test_a_current_without_sign_has_that_of_the_state_beside_it(tmp_path: Path) -> None:
    path = maccor(tmp_path / "cell.txt", np.abs(MILLIAMPS) / 1000)
    for positive in ("charge", "discharge"):  # there is no sign that the recipe could be of
        record = read(path, positive=positive)
        the_same_cell(record, START)
        assert record.notes == (f"{path}: the current has no sign; 'State' tells what is discharge",)
    path = maccor(tmp_path / "cell.txt", np.abs(MILLIAMPS) / 1000, **{"Cap. [mAh]": np.abs(CHARGE)})
    with pytest.raises(SourceError, match=r"the current has no sign, and so the charge 'Cap. \[mAh\]' has none"):
        read(path, {"charge": "Cap. [mAh]"})


def test_a_current_of_the_other_sign_than_the_state_says_is_refused(tmp_path: Path) -> None:
    path = maccor(tmp_path / "cell.txt", -MILLIAMPS / 1000)
    with pytest.raises(
        SourceError, match=r"the other sign than 'State' tells, in 80 rows; set positive = \"discharge\""
    ):
        read(path)
    the_same_cell(read(path, positive="discharge"), START)
    with pytest.raises(SourceError, match='set positive = "charge"'):
        read(maccor(path), positive="discharge")


def test_millivolts_under_a_name_of_volts_are_refused(tmp_path: Path) -> None:
    path = maccor(tmp_path / "cell.txt", Volts=1000 * VOLTS)
    with pytest.raises(
        SourceError, match=r'\'Volts\' reaches 3\d\d\d\.?\d* V, .* columns = {voltage = "Volts \(mV\)"}'
    ):
        read(path)
    the_same_cell(read(path, {"voltage": "Volts (mV)"}), START)


def test_a_unit_that_the_file_does_not_tell_is_told_in_the_recipe(tmp_path: Path) -> None:
    table = {"Test Time (sec)": SECONDS, "Current": MILLIAMPS / 1000, "Voltage": VOLTS,
             "DPT Time": clock("%d-%b-%y %I:%M:%S %p")}  # fmt: skip
    path = written(tmp_path / "cell.csv", ["Date of Test:,23-Nov-23 3:56:08 PM"], table, ",")
    with pytest.raises(SourceError) as told:
        read(path)
    assert "the columns 'Voltage', 'Current' do not tell their units" in str(told.value)
    assert str(told.value).endswith('columns = {voltage = "Voltage (V)", current = "Current (mA)"}')
    with pytest.raises(
        SourceError, match=r"'Current' does not tell its unit, .* columns = {current = \"Current \(mA\)\"}"
    ):
        read(path, {"voltage": "Voltage (V)"})
    the_same_cell(read(path, {"voltage": "Voltage (V)", "current": "Current (A)"}), START)
    with pytest.raises(SourceError, match=r"columns.current: no column 'Amps \(A\)'; there are 'Test Time"):
        read(path, {"voltage": "Voltage (V)", "current": "Amps (A)"})


def test_neware_with_steps_between_the_rows(tmp_path: Path) -> None:
    """Headings of three kinds of rows; the time begins again in each step, and the date goes on."""
    head = ["Cycle Index,Chg. Cap.(Ah),Chg. Time", ",Step Index,Step Type,Step Time,Capacity(Ah)"]
    lines = [",,DataPoint,Time,Total Time,Current(A),Voltage(V),Capacity(Ah),Date", "1,0.02256,00:02:51"]
    for k, moment in enumerate(clock("%Y-%m-%d %H:%M:%S")):
        lines += [f",{k // 40 + 1},CC Chg,00:02:51,0.02256"] if k % 40 == 0 else []
        into = f"00:{k % 40 * 10 // 60:02d}:{k % 40 * 10 % 60:02d}"
        lines.append(f",,{k + 1},{into},{into},{MILLIAMPS[k] / 1000:.5f},{VOLTS[k]:.7f},0.0,{moment}")
    path = tmp_path / "cell.csv"
    path.write_text("\n".join([*head, *lines]) + "\n")
    record = read(path)
    the_same_cell(record, START)
    assert record.notes == (f"{path}: 4 rows without a number were left out",)


def test_a_table_below_smaller_ones(tmp_path: Path) -> None:
    head = ["Test:,187", "Parameter names:,C-Rate (mAh),Mass (kg)", "Parameter values:,64000,1.161", "#END"]
    table = {"Test": 187, "Total Time (Seconds)": SECONDS, "Real Time": clock("%m/%d/%Y %H:%M:%S"),
             "Voltage (mV)": 1000 * VOLTS, "Current (mA)": MILLIAMPS}  # fmt: skip
    the_same_cell(read(written(tmp_path / "cell.csv", head, table, ",")), START)


def test_novonix_and_basytec(tmp_path: Path) -> None:
    table = {"Date and Time": clock("%Y-%m-%d %H:%M:%S"), "Step Type": 7, "Run Time (h)": SECONDS / 3600,
             "Current (A)": MILLIAMPS / 1000, "Potential (V)": VOLTS}  # fmt: skip
    the_same_cell(read(written(tmp_path / "n.csv", ["[Summary]", "Mass (g): 1.000", "[Data]"], table, ",")), START)
    head = ["~Resultfile from Basytec Battery Test System", f"~Start of Test: {START:%d.%m.%Y %H:%M:%S}", "~"]
    table = {"~Time[s]": SECONDS, "Command": "Pause", "U[V]": VOLTS, "I[A]": MILLIAMPS / 1000, "Ah[Ah]": 0.0}
    the_same_cell(read(written(tmp_path / "b.txt", head, table)), START)
