"""Files of a cycler say the same in every dialect; what is not sure is refused by name; memory is bounded."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.phantom.cell_record import START, CellRecord, cell_record, write_mpt
from crackdask.phantom.cell_states import FIVE_STATES
from crackdask.sources import SourceError
from crackdask.sources.cycler_columns import columns_of
from crackdask.sources.cycler_curve import MOST_ROWS
from tests.support.cycler_tables import read, saved, short
from tests.support.mpr import write_mpr

TRUE = cell_record(FIVE_STATES)


TABLE = TRUE.table


def comma(value: float) -> str:
    return f"{value:.7f}".replace(".", ",")


# ---------------------------------------------------------------- dialects


def ec_lab(path: Path) -> None:
    write_mpt(TRUE, path)


def german_ec_lab(path: Path) -> None:
    """Decimal commas, mean currents, no charge, absolute times, latin letters, a tab at the end of each line."""
    lines = ["EC-Lab ASCII FILE", "Nb header lines : 5", "", "Gerät : µA", "time/s\t<Ewe/V>\t<I>/mA\tmode\t"]
    for time, voltage, current in TABLE[["time", "voltage", "current"]].to_numpy(float).tolist():
        moment = START + timedelta(seconds=time)
        stamp = f"{moment:%m/%d/%Y %H:%M:%S}.{moment.microsecond // 1000:03d}"
        lines.append(f"{stamp}\t{comma(voltage)}\t{comma(current)}\t1\t")
    path.write_text("\n".join(lines), encoding="cp1252")


def arbin(path: Path) -> None:
    """Amperes, milliohm beside, a byte order mark, and currents that are negative on discharge."""
    told = pd.DataFrame(
        {
            "Data_Point": np.arange(len(TABLE)), "Test_Time(s)": TABLE.time, "Step_Time(s)": 0.0,
            "Current(A)": TABLE.current / 1000, "Voltage(V)": TABLE.voltage, "Internal_Resistance(Ohm)": 0.0,
        }
    )  # fmt: skip
    told.to_csv(path, index=False, encoding="utf-8-sig")


def neware(path: Path) -> None:
    """Semicolons, decimal commas, days first, hours nowhere: dates alone tell the time."""
    dates = [f"{START + timedelta(seconds=t):%d.%m.%Y %H:%M:%S}" for t in TABLE.time]
    columns = {"DateTime": dates, "Voltage [mV]": 1000 * TABLE.voltage, "Current [µA]": 1000 * TABLE.current}
    pd.DataFrame(columns).to_csv(path, index=False, sep=";", decimal=",", encoding="utf-8")


@pytest.mark.parametrize(
    ("write", "name", "dated"),
    [(ec_lab, "a.mpt", True), (german_ec_lab, "b.mpt", True), (arbin, "c.csv", False), (neware, "d.csv", True)],
)
def test_every_dialect_tells_the_same_cell(
    write: Callable[[Path], None], name: str, dated: bool, tmp_path: Path
) -> None:
    write(tmp_path / name)
    record = read(tmp_path / name)
    assert record.rows == len(TABLE)
    assert (record.start == START) if dated else (record.start is None)
    np.testing.assert_allclose(record.time, TABLE.time, atol=1.01)  # dates may have whole seconds
    np.testing.assert_allclose(record.voltage, TABLE.voltage, atol=2e-6)
    np.testing.assert_allclose(record.current, TABLE.current, atol=2e-6)
    # Capacity within 0.1%.
    assert np.abs(record.charge - TABLE.charge).max() < 1e-3 * np.ptp(TABLE.charge)
    assert not record.notes


def test_a_current_that_is_positive_on_discharge_is_turned_round(tmp_path: Path) -> None:
    arbin(tmp_path / "cell.csv")
    text = pd.read_csv(tmp_path / "cell.csv")
    text["Current(A)"] *= -1
    text.to_csv(tmp_path / "cell.csv", index=False)
    np.testing.assert_allclose(read(tmp_path / "cell.csv", positive="discharge").current, TABLE.current, atol=2e-6)


def test_columns_may_be_named_by_hand(tmp_path: Path) -> None:
    told = TABLE.rename(columns={"time": "clock [h]", "voltage": "aux (V)", "current": "flow, mA"})[
        ["clock [h]", "aux (V)", "flow, mA"]
    ]
    told["clock [h]"] /= 3600
    told.to_csv(tmp_path / "cell.csv", index=False, sep=";")
    with pytest.raises(SourceError, match=r"no column of time, voltage, current among 'clock \[h\]'"):
        read(tmp_path / "cell.csv")
    named = {"time": "clock [h]", "voltage": "aux (V)", "current": "flow, mA"}
    np.testing.assert_allclose(read(tmp_path / "cell.csv", columns=named).time, TABLE.time, atol=1e-6)


@pytest.mark.parametrize("heading", ["Current", "I", "current (furlong)"])
def test_a_column_without_a_unit_is_no_guess(heading: str) -> None:
    with pytest.raises(
        SourceError, match=r"(does not tell its unit, wanted of current one of a, ma|no column of current)"
    ):
        columns_of(["time/s", "Ewe/V", heading], "cell.csv", {})


# ---------------------------------------------------------------- several files


def parts(folder: Path, cut: int, dated: bool = True) -> tuple[Path, Path]:
    for name, rows, start in (("one", TABLE.iloc[:cut], START), ("two", TABLE.iloc[cut:], START)):
        moved = CellRecord(rows.assign(charge=rows.charge - rows.charge.iloc[0]), (), ())
        write_mpt(moved, folder / f"{name}.mpt", start if dated else None)
    return folder / "one.mpt", folder / "two.mpt"


@pytest.mark.parametrize("dated", [True, False])
@given(cut=st.integers(2, len(TABLE) - 2))
def test_files_in_a_row_are_one_record(cut: int, dated: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    one, two = parts(tmp_path_factory.mktemp("parts"), cut, dated)
    record = read(two, one) if dated else read(one, two)  # dates tell the order
    np.testing.assert_allclose(record.time, TABLE.time, atol=0.02)
    # What flowed between the last row of one and the first of the other is in neither.
    assert np.abs(record.charge - TABLE.charge).max() < 0.004


def test_files_that_overlap_are_of_two_cells(tmp_path: Path) -> None:
    write_mpt(TRUE, tmp_path / "one.mpt")
    write_mpt(TRUE, tmp_path / "two.mpt", START + timedelta(hours=2))
    with pytest.raises(SourceError, match=r"two\.mpt: begins 6\.67 h before .*one\.mpt ends"):
        read(tmp_path / "one.mpt", tmp_path / "two.mpt")


def test_a_file_without_a_date_cannot_be_put_beside_one_with(tmp_path: Path) -> None:
    write_mpt(TRUE, tmp_path / "one.mpt")
    write_mpt(TRUE, tmp_path / "two.mpt", None)
    with pytest.raises(SourceError, match=r"two\.mpt: does not tell when it began, as others do"):
        read(tmp_path / "one.mpt", tmp_path / "two.mpt")


# ---------------------------------------------------------------- what cannot be right


def test_a_clock_that_goes_back_is_told_with_its_row(tmp_path: Path) -> None:
    told = TABLE.copy()
    told.loc[700:, "time"] -= 3600
    write_mpt(CellRecord(told, (), ()), tmp_path / "cell.mpt")
    with pytest.raises(SourceError, match=r"the clock goes back by 59\.8 min in row 701 of the table"):
        read(tmp_path / "cell.mpt")


@pytest.mark.parametrize("back", [1e-6, 0.9])
def test_a_clock_that_jitters_is_a_note(back: float, tmp_path: Path) -> None:
    told = TABLE[["time", "voltage", "current"]].set_axis(["time (s)", "voltage (V)", "current (mA)"], axis=1)
    rows = np.arange(5, len(told), 50)
    time = TABLE.time.to_numpy(float, copy=True)
    time[rows] = time[rows - 1] - back
    told.assign(**{"time (s)": time}).to_csv(tmp_path / "cell.csv", index=False)
    record = read(tmp_path / "cell.csv")
    assert any(f"goes back before {len(rows)} rows, by {back:.2g} s at most" in note for note in record.notes)
    assert np.diff(record.time).min() == 0
    np.testing.assert_allclose(record.charge, TABLE.charge, atol=0.005)  # one row, in mAh
    time[5] -= 1.1
    told.assign(**{"time (s)": time}).to_csv(tmp_path / "cell.csv", index=False)
    with pytest.raises(SourceError, match=r"the clock goes back by .* s in row 6 of the table"):
        read(tmp_path / "cell.csv")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"   \r\n", "the file is empty"),
        (b"BIO-LOGIC MODULAR FILE\x1a\0\0\0\0", "not a text file"),
        (b"time/s,Ewe/V,I/mA\n", "no table of numbers|no row"),
        (b"EC-Lab ASCII FILE\nNb header lines : 3\ntime/s\tEwe/V\tI/mA\n", "no row"),
        (b"dear diary, today\nwe cycled, a cell\n", "found no table of numbers"),
        (b"time/s,Ewe/V,I/mA\nXXX,XXX,XXX\nXXX,1,2\n", "no row has a time|no table of numbers|found no column"),
        (b"EC-Lab ASCII FILE\nNb header lines : 900\ntime/s\tEwe/V\n1\t2\n", "found no table of numbers"),
        (
            b"time/s,Ewe/V,I/mA\n0,0,3,0,1,0\n10,0,3,1,1,0\n",
            r"6 cells in rows under 3 headings \(decimal",
        ),
        (b"time/s,Ewe/V,Ewe/V,I/mA\n0,3,4,1\n10,3,4,1\n", r"2 columns are headed 'Ewe/V'; rename"),
        (b"Date,Ewe/V,I/mA\n2021-01-01 00:00:00+99:99,3,1\n2021-01-01 00:00:10+99:99,3,1\n", r"time zone '\+99:99'"),
    ],
)
def test_what_is_no_record_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "cell.mpt").write_bytes(content)
    with pytest.raises(SourceError, match=words):
        read(tmp_path / "cell.mpt")


# ---------------------------------------------------------------- the binary file of EC-Lab


@pytest.mark.parametrize("charge", [False, True])
@pytest.mark.parametrize("version", [0, 2, 3])
def test_the_binary_file_of_ec_lab_tells_the_same_cell(version: int, charge: bool, tmp_path: Path) -> None:
    """Written by the tests as the program that reads it expects; no file of an instrument is among them."""
    pytest.importorskip("galvani", reason="no galvani, which reads .mpr: pip install datalab-org-galvani")
    record = read(write_mpr(TABLE, tmp_path / "cell.mpr", START, version, charge=charge))
    assert (record.rows, record.start, record.notes) == (len(TABLE), START, ())
    np.testing.assert_allclose(record.time, TABLE.time)
    np.testing.assert_allclose(record.voltage, TABLE.voltage, atol=1e-6)
    np.testing.assert_allclose(record.current, TABLE.current)
    assert np.abs(record.charge - TABLE.charge).max() < 1e-3 * np.ptp(TABLE.charge)


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (lambda data: data[:-300], "unreadable, truncated or corrupt"),
        (lambda data: data[:80], "unreadable, truncated or corrupt"),
        (lambda data: b"EC-Lab" + data, r"galvani cannot read it .* export it as text \(\.mpt\)"),
        (lambda data: data.replace(b"\x0b\x00\x07\x00", b"\xe7\x03\x07\x03"), r"[Cc]olumn ID 999 .* export it as text"),
        (lambda data: data.replace(b"VMP data  ", b"VMP date  "), r"galvani cannot read it"),
        (lambda data: b"", r"galvani cannot read it"),
    ],
)
def test_a_binary_file_that_cannot_be_read_is_told(
    damaged: Callable[[bytes], bytes], words: str, tmp_path: Path
) -> None:
    pytest.importorskip("galvani", reason="no galvani, which reads .mpr: pip install datalab-org-galvani")
    path = write_mpr(TABLE, tmp_path / "cell.mpr", START)
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(SourceError, match=words):
        read(path)


def test_without_what_reads_it_the_binary_file_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "galvani", None)
    (tmp_path / "cell.mpr").write_bytes(b"BIO-LOGIC MODULAR FILE\x1a" + bytes(60))
    with pytest.raises(SourceError, match=r"pip install datalab-org-galvani, or export the file as text"):
        read(tmp_path / "cell.mpr")


def test_no_charge_is_counted_in_a_gap(tmp_path: Path) -> None:
    rows = "".join(f"{t},3.5,2.0\n" for t in (0, 10, 20, 40_000, 40_010))
    (tmp_path / "cell.csv").write_text("time/s,Voltage(V),Current(mA)\n" + rows)
    record = read(tmp_path / "cell.csv")
    assert record.charge[-1] == pytest.approx(2.0 * 30 / 3600)
    assert "1 gap" in record.notes[0]


# ---------------------------------------------------------------- long files


def test_of_a_long_file_a_curve_is_kept_and_all_charge_is_counted(tmp_path: Path) -> None:
    count = 2 * MOST_ROWS + 50_001
    with (tmp_path / "cell.csv").open("w") as file:
        file.write("time/s,Voltage(V),Current(mA)\n")
        for first in range(0, count, 50_000):
            rows = range(first, min(first + 50_000, count))
            file.write("".join(f"{k},{3 + k / count:.6f},{1 if k < count // 2 else -1}\n" for k in rows))
    tracemalloc.start()
    record = read(tmp_path / "cell.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.rows == count
    assert record.time.size <= MOST_ROWS
    assert record.time[0] == 0
    assert record.time[-1] == count - 1
    assert record.charge.max() == pytest.approx((count // 2) / 3600, rel=1e-4)
    assert record.charge[-1] == pytest.approx(0, abs=1e-3)
    assert peak < 120 * 2 * MOST_ROWS  # bytes: what is kept and what is read at once, not the file


def test_a_charge_that_begins_again_in_each_step_is_refused(tmp_path: Path) -> None:
    path = saved(short(**{"Capacity(mAh)": [0, 1 / 3, 2 / 3, 0, 1 / 3, 2 / 3, 1]}), tmp_path / "cell.csv")
    with pytest.raises(SourceError, match=r"'Capacity\(mAh\)' begins again in row 4 .* leave columns.charge out"):
        read(path, columns={"charge": "Capacity(mAh)"})
    assert read(path).charge[-1] == pytest.approx(2.0)
    goes_on = saved(short(**{"Capacity(mAh)": np.arange(7) / 3}), tmp_path / "other.csv")
    assert read(goes_on, columns={"charge": "Capacity(mAh)"}).charge[-1] == pytest.approx(2.0)


def test_a_charge_that_comes_back_to_nothing_by_a_current_is_none_that_begins_again(tmp_path: Path) -> None:
    current = [2.0, 2.0, 2.0, -2.0, -2.0, -2.0, -2.0]
    charge = [0.0, 1 / 3, 2 / 3, 1 / 3, 0.0, -1 / 3, -2 / 3]
    table = short(**{"current_mA": current, "Capacity(mAh)": charge})
    assert read(saved(table, tmp_path / "c.csv"), columns={"charge": "Capacity(mAh)"}).charge[-1] == pytest.approx(
        -2 / 3
    )


def test_rows_without_a_number_are_counted(tmp_path: Path) -> None:
    table = short().astype(object)
    table.loc[2, "voltage_V"] = "overload"
    table.loc[4, "current_mA"] = ""
    found = read(saved(table, tmp_path / "c.csv"))
    assert found.rows == 5
    assert found.notes == (f"{tmp_path}/c.csv: 2 rows without a number were left out",)
    assert read(saved(short(), tmp_path / "d.csv")).notes == ()


def test_quoted_decimal_commas(tmp_path: Path) -> None:
    table = short().map(lambda value: f"{value:.5f}".replace(".", ","))
    found = read(saved(table, tmp_path / "c.csv", quoting=1))
    assert found.voltage[3] == pytest.approx(3.718)


def test_a_quote_in_a_comment_of_the_header_is_no_beginning_of_a_cell(tmp_path: Path) -> None:
    ec_lab(tmp_path / "cell.mpt")
    lines = (tmp_path / "cell.mpt").read_bytes().split(b"\n")
    wanted = read(tmp_path / "cell.mpt").rows
    lines[2] = b'"The best cell'
    (tmp_path / "cell.mpt").write_bytes(b"\n".join(lines))
    assert read(tmp_path / "cell.mpt").rows == wanted


def test_a_last_line_that_is_being_written_is_left(tmp_path: Path) -> None:
    path = saved(short(), tmp_path / "c.csv")
    whole = path.read_bytes()
    for cut in range(1, 12):
        path.write_bytes(whole[:-cut])
        assert read(path).rows == 6
        np.testing.assert_array_equal(read(path).voltage, 3.7 + np.arange(6) * 600 * 1e-5)
    path.write_bytes(whole)
    assert read(path).rows == 7
