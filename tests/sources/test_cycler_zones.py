"""Times with an offset from UTC, times without, and the zone of those: compared rightly, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from crackdask.analysis.state_links import Scanned, links
from crackdask.clocks import on_clock, seconds_after, zone_of
from crackdask.phantom.cell_record import START, CellRecord, cell_record, write_mpt
from crackdask.phantom.cell_states import FIVE_STATES
from crackdask.sources import SourceError
from crackdask.sources.cycler import CyclerRecord, Reading, read_record
from crackdask.sources.opening import open_source
from crackdask.sources.scan_times import scan_times

TRUE = cell_record(FIVE_STATES)
ZURICH = zone_of("Europe/Zurich")
AHEAD = timezone(timedelta(hours=1))  # of Zurich in March


def read(*paths: Path, zone: str | None = None) -> CyclerRecord:
    return read_record(list(paths), Reading({}, zone=zone_of(zone)))


def dated(path: Path, texts: list[str]) -> Path:
    columns = {"Date": texts, "Voltage (V)": 3.5, "Current (mA)": np.linspace(1, 2, len(texts))}
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def recorded(zone: Any = None) -> CyclerRecord:
    table = TRUE.table
    time, voltage, current, charge = (table[name].to_numpy(float) for name in ("time", "voltage", "current", "charge"))
    return CyclerRecord(time, voltage, current, charge, START.replace(tzinfo=zone), len(table))


#: A moment within the rest of the second state, by the clock of the cycler.
WITHIN = START + timedelta(seconds=TRUE.scans[1][0] + 60)


@pytest.mark.parametrize(
    ("told", "cycler", "zone", "linked"),
    [
        (WITHIN, None, None, True),
        (WITHIN.replace(tzinfo=AHEAD), AHEAD, None, True),
        ((WITHIN - timedelta(hours=1)).replace(tzinfo=UTC), AHEAD, None, True),
        ((WITHIN - timedelta(hours=1)).replace(tzinfo=UTC), None, ZURICH, True),
        (WITHIN, AHEAD, ZURICH, True),
        ((WITHIN + timedelta(hours=2)).replace(tzinfo=timezone(timedelta(hours=3))), AHEAD, None, True),
        (WITHIN.replace(tzinfo=AHEAD), None, None, False),
        (WITHIN, AHEAD, None, False),
    ],
)
def test_times_are_compared_where_both_have_an_offset_or_the_zone_is_known(
    told: datetime, cycler: Any, zone: Any, linked: bool
) -> None:
    record = recorded(cycler)
    (link,) = links(record, [Scanned("4.2 V", 4.2, "charge", told)], 0.05, 600, zone)
    assert bool(link.by) == linked
    if linked:
        assert link.begin == pytest.approx(TRUE.scans[1][0] + 60)
    else:
        assert "offset from UTC, and the cycler's clock has" in link.reason
        assert 'zone = "Europe/Zurich" under [electrochemistry]' in link.reason
    # What a scan's file tells leads nowhere then, and the rests decide.
    (link,) = links(record, [Scanned("4.2 V", 4.2, "charge", None, (told, told))], 0.05, 600, zone)
    assert link.by == ("metadata" if linked else "rest")
    assert link.begin == pytest.approx(TRUE.scans[1][0] + (60 if linked else 0), abs=11)


@pytest.mark.parametrize("name", ["Europe/Nowhere", "", "+2", "+99:99", "../etc/passwd", "/etc/passwd", "\0"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is known here, wanted one such as"):
        zone_of(name)


def test_a_time_that_comes_twice_or_never_is_refused() -> None:
    for moment in (datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30)):
        with pytest.raises(ValueError, match="comes twice or never by the clocks of Europe/Zurich"):
            on_clock(moment, ZURICH)
    winter, summer = datetime(2026, 3, 29, 1), datetime(2026, 3, 29, 4)
    assert seconds_after(summer, winter, ZURICH) == 2 * 3600
    assert seconds_after(summer, winter, None) == 3 * 3600


def test_dates_of_a_cycler_with_their_offset(tmp_path: Path) -> None:
    """Clocks were set between two rows, which the offsets tell."""
    texts = ["2026-10-25T02:50:00+02:00", "2026-10-25T02:10:00+01:00", "2026-10-25T02:20:00+01:00"]
    record = read(dated(tmp_path / "cell.csv", texts))
    assert record.start == datetime.fromisoformat(texts[0])
    assert record.start.isoformat() == texts[0]
    np.testing.assert_allclose(record.time, [0, 1200, 1800])
    zulu = read(dated(tmp_path / "zulu.csv", ["2026-03-14 08:00:00.5Z", "2026-03-14 08:00:10.5z"]))
    assert zulu.start == datetime(2026, 3, 14, 8, 0, 0, 500_000, tzinfo=UTC)


def test_dates_of_a_clock_that_is_set_are_read_by_its_zone(tmp_path: Path) -> None:
    texts = [f"2026-03-29 {hour}:59:50" for hour in ("00", "01", "03")] + ["2026-03-29 04:00:00"]
    path = dated(tmp_path / "cell.csv", texts)
    np.testing.assert_allclose(read(path).time, [0, 3600, 10800, 10810])
    by_zone = read(path, zone="Europe/Zurich")
    np.testing.assert_allclose(by_zone.time, [0, 3600, 7200, 7210])
    assert by_zone.start == datetime(2026, 3, 29, 0, 59, 50, tzinfo=AHEAD)
    back = ["2026-10-25 02:30:00", "2026-10-25 02:50:00", "2026-10-25 02:10:00", "2026-10-25 02:40:00"]
    path = dated(tmp_path / "back.csv", back)
    with pytest.raises(SourceError, match="the clock goes back by 40 min in row 3"):
        read(path)
    np.testing.assert_allclose(read(path, zone="Europe/Zurich").time, [0, 1200, 2400, 4200])


def test_only_some_dates_with_an_offset_are_refused(tmp_path: Path) -> None:
    path = dated(tmp_path / "cell.csv", ["2026-03-14T08:00:00Z", "2026-03-14T08:00:10"])
    with pytest.raises(SourceError, match="some dates have an offset from UTC, such as 'Z', and others have none"):
        read(path)


def test_files_of_two_kinds_of_clocks_are_joined_by_a_zone(tmp_path: Path) -> None:
    table = pd.DataFrame({"time": [0.0, 60.0], "voltage": 3.5, "current": 0.0, "charge": 0.0})
    write_mpt(CellRecord(table, (), ()), tmp_path / "one.mpt", datetime(2026, 3, 14, 9))
    dated(tmp_path / "two.csv", ["2026-03-14T08:10:00Z", "2026-03-14T08:11:00Z"])
    paths = tmp_path / "one.mpt", tmp_path / "two.csv"
    with pytest.raises(SourceError, match=r"one\.mpt: began at 2026-03-14 09:00 without an offset from UTC"):
        read(*paths)
    np.testing.assert_allclose(read(*paths, zone="Europe/Zurich").time, [0, 60, 600, 660])


def test_a_file_that_began_while_clocks_were_set_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"time": [0.0, 60.0], "voltage": 3.5, "current": 0.0, "charge": 0.0})
    write_mpt(CellRecord(table, (), ()), tmp_path / "one.mpt", datetime(2026, 10, 25, 2, 30))
    with pytest.raises(SourceError, match=r"began when 2026-10-25 02:30 comes twice or never"):
        read(tmp_path / "one.mpt", zone="Europe/Zurich")


@pytest.mark.parametrize("offset", ["+01:00", "Z", ""])
def test_the_time_of_a_scan_keeps_its_offset(offset: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.nxs", "w") as file:
        file["entry/data/data"] = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
        file["entry/start_time"] = f"2026-03-14T09:26:53{offset}"
        file["entry/end_time"] = f"2026-03-14T09:36:53{offset}"
    times = scan_times(open_source("scan.nxs::/entry/data/data", tmp_path))
    assert times is not None
    assert times[0] == datetime.fromisoformat(f"2026-03-14T09:26:53{offset}")
    assert times[1] - times[0] == timedelta(minutes=10)


def test_an_hour_that_comes_twice_is_left_out_where_it_cannot_be_told(tmp_path: Path) -> None:
    texts = [f"2026-10-25 {time}:00" for time in ("01:50", "02:30", "03:10")]
    record = read(dated(tmp_path / "cell.csv", texts), zone="Europe/Zurich")
    np.testing.assert_allclose(record.time, [0, 8400])
    assert "1 rows without a number were left out" in record.notes[0]
    hours = [f"02:{minute}:00" for minute in (40, 50, 10)] + ["12:10:00"]
    years = [f"{day} {hour}" for day in ("2026-10-25", "2027-10-31") for hour in hours]
    record = read(dated(tmp_path / "years.csv", years), zone="Europe/Zurich")
    np.testing.assert_allclose(np.diff(record.time)[[0, 1, 2, 4, 5, 6]], [600, 1200, 36_000] * 2)
