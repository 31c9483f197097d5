"""Dates in a cycler's files, as text and as numbers, beside a time or in its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crackdask.sources import SourceError
from crackdask.sources.cycler_dates import parsed_date
from tests.support.cycler_tables import read, saved, short


def test_dates_that_could_be_either_way_are_read_so_that_rows_lie_close(tmp_path: Path) -> None:
    dates = [f"{datetime(2021, 4, 3) + timedelta(seconds=10 * k):%d/%m/%Y %H:%M:%S}" for k in range(9000)]
    pd.DataFrame({"Date": dates, "V(V)": 3.5, "I(mA)": 0.0}).to_csv(tmp_path / "cell.csv", index=False)
    record = read(tmp_path / "cell.csv")
    assert record.start == datetime(2021, 4, 3)
    assert "was read with the day first" in record.notes[0]
    assert read(tmp_path / "cell.csv", dates="month first").start == datetime(2021, 3, 4)


@pytest.mark.parametrize("text", ["13/13/2021 10:00:00", "yesterday", "2021-02-30 10:00:00", "10:00:00"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="is no date"):
        parsed_date(text, "auto", "cell.csv")


@given(
    moment=st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)), way=st.sampled_from(["month first", "day first"])
)
def test_dates_come_back(moment: datetime, way: Any) -> None:
    shape = "%m/%d/%Y %H:%M:%S.%f" if way == "month first" else "%d/%m/%Y %H:%M:%S.%f"
    found, _ = parsed_date(moment.strftime(shape), way, "")
    assert abs(found - moment) < timedelta(milliseconds=1)


@pytest.mark.parametrize("heading", ["Date", "Time (min)"])
def test_dates_as_a_spreadsheet_counts_them(heading: str, tmp_path: Path) -> None:
    table = short().rename(columns={"time_s": heading})
    days = 44_492.46 + np.arange(7) / 144
    if heading == "Date":
        table[heading] = days
        found = read(saved(table, tmp_path / "c.csv"))
        assert found.start is not None
        assert abs(found.start - datetime(2021, 10, 23, 11, 2, 24)) < timedelta(seconds=1)
    else:  # dates under a heading of minutes
        table[heading] = [f"2021-10-23 11:{k}0:00" if k < 6 else "2021-10-23 12:00:00" for k in range(7)]
        found = read(saved(table, tmp_path / "c.csv"))
        assert found.start == datetime(2021, 10, 23, 11)
    np.testing.assert_allclose(found.time, np.arange(7) * 600.0, atol=1e-3)


def test_seconds_since_1970_and_numbers_that_are_no_dates(tmp_path: Path) -> None:
    table = short().rename(columns={"time_s": "timestamp"})
    table["timestamp"] += 1_634_986_944.0
    found = read(saved(table, tmp_path / "c.csv"))
    assert found.start == datetime(2021, 10, 23, 11, 2, 24, tzinfo=UTC)
    table["timestamp"] -= 1_634_986_944.0
    with pytest.raises(SourceError, match=r"'timestamp' holds 0\.0, which is no date"):
        read(saved(table, tmp_path / "d.csv"))


def test_a_date_beside_the_time_tells_when_the_file_began(tmp_path: Path) -> None:
    table = short(Date_Time=[f"10/23/2021 11:{k}0:00" if k < 6 else "10/23/2021 12:00:00" for k in range(7)])
    table = table.rename(columns={"time_s": "Test_Time(s)"})
    table["Test_Time(s)"] += 100.0
    found = read(saved(table, tmp_path / "c.csv"))
    assert found.start == datetime(2021, 10, 23, 11)
    np.testing.assert_allclose(found.time, np.arange(7) * 600.0)


def test_a_column_of_dates_may_be_named(tmp_path: Path) -> None:
    table = short(When=[f"23.10.2021 11:{k}0:00" if k < 6 else "23.10.2021 12:00:00" for k in range(7)])
    found = read(saved(table, tmp_path / "c.csv"), columns={"time": "When"})
    assert found.start == datetime(2021, 10, 23, 11)
