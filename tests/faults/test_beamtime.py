"""A beamtime: scans come slice by slice while a run watches for them, is killed twice, and finds the disk full once."""

from __future__ import annotations

import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread

from crackdask.engine.checkpoints import Work
from crackdask.schema import UnitKey
from crackdask.store.root import attributes, is_there
from tests.faults.harness import CRACKDASK, Process
from tests.faults.mounts import small_disk
from tests.faults.test_disks import fill
from tests.support.fault_counts import COUNTS
from tests.support.growing import NAMES, Growing
from tests.support.store_files import unlike
from tests.support.waiting import until

SETTLE = 1.5
#: Writes what lies in one folder into another, slice by slice, a scan each time it is told to, and says when it ended.
SCANNER = """
import sys, time, pathlib, shutil
source, target = map(pathlib.Path, sys.argv[1:])
for scan in sorted(source.iterdir()):
    sys.stdin.readline()
    (target / scan.name).mkdir(parents=True)
    for part in sorted(scan.iterdir()):
        shutil.copyfile(part, target / scan.name / part.name)
        time.sleep(0.02)
    print(scan.name, time.time(), flush=True)
"""


@dataclass
class Beamtime:
    """A folder into which scans come, and runs that watch for them."""

    folder: Path
    disk: Path
    runs: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recorded = Growing(self.folder / "recorded", 5, crop={"z": [0, 20]})
        self.recipe = self.folder / "recipe.toml"
        self.recipe.write_text(self.recorded.recipe.read_text())
        self.store = self.disk / "cell.zarr"
        words: list[str | Path] = [sys.executable, "-c", SCANNER, self.folder / "recorded/scans", self.folder / "scans"]
        self.scanner = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ended: list[float] = []

    def scan(self) -> None:
        """Have the next scan recorded; the cell cycles on meanwhile."""
        assert self.scanner.stdin
        self.scanner.stdin.write("\n")
        self.scanner.stdin.flush()

    def watch(self, *options: str) -> Process:
        words: list[str | Path] = ["run", self.recipe, "--store", self.store, "--cluster", "threads", "--workers", "1"]
        said = self.folder / f"run{len(self.runs)}.log"
        run = Process([*CRACKDASK, *words, "--watch", "--settle", str(SETTLE), *options], said, {"COLUMNS": "200"})
        self.runs.append(run)
        return run

    def states(self) -> int:
        return len(attributes(self.store)["identity"]["states"]) if is_there(self.store) else 0

    def kill_when(self, ready: Callable[[], bool]) -> None:
        run = self.watch()
        until(lambda: ready() or not run.alive(), 240, lambda: run.said)
        assert run.alive(), run.said
        run.kill()
        COUNTS.kills += 1

    def end(self) -> None:
        self.scanner.kill()
        said, _ = self.scanner.communicate()
        self.ended = [float(line.split()[1]) for line in said.splitlines()]
        for run in self.runs:
            run.kill()


@dataclass
class Rows:
    """When each state came to have its row in the report."""

    report: Path
    stop: Event = field(default_factory=Event)
    at: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        while not self.stop.wait(0.1):
            if not self.report.exists():
                continue
            listed = re.search(r"states?: ([^<]+)", self.report.read_text())
            assert listed
            for name in listed[1].split(", "):
                self.at.setdefault(name, self.report.stat().st_mtime)


def test_a_beamtime(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "tmpfs", 48) as disk:
        beamtime, rows = Beamtime(tmp_path, disk), Rows(disk / "cell-report" / "report.html")
        looking = Thread(target=rows.look)
        looking.start()
        try:
            _disturbed(beamtime, rows, disk)
        finally:
            rows.stop.set()
            looking.join()
            beamtime.end()
        ended = dict(zip(NAMES, beamtime.ended, strict=True))
        waits = [rows.at[name] - ended[name] for name in NAMES]
        print(f"from a scan's last slice to its row: {', '.join(f'{wait:.1f}' for wait in waits)} s")
        print(f"median {statistics.median(waits):.1f} s, of which {SETTLE} s settling")
        alone = Growing(tmp_path, 5, crop={"z": [0, 20]})
        outcome, _ = alone.grown(5, tmp_path / "alone.zarr")
        assert not outcome.failures
        assert unlike(beamtime.store, tmp_path / "alone.zarr") == []
        COUNTS.runs_compared += 1


def _ended(run: Process, rows: Rows, state: str) -> bool:
    return state in rows.at or not run.alive()


def _disturbed(beamtime: Beamtime, rows: Rows, disk: Path) -> None:
    """Watch, be killed in the first state and in the second, find the disk full in the fourth, and come to the end."""
    work = Work.beside(beamtime.store)
    beamtime.scan()
    beamtime.kill_when(lambda: beamtime.states() == 1 and work.fingerprint(UnitKey("grey", 0)) is not None)
    beamtime.scan()
    beamtime.kill_when(lambda: beamtime.states() == 2 and work.fingerprint(UnitKey("grey", 1)) is not None)
    run, stop = beamtime.watch(), Event()
    for state in (1, 2):
        until(partial(_ended, run, rows, NAMES[state]), 240, lambda: run.said)
        beamtime.scan()
    until(lambda: beamtime.states() == 4 or not run.alive(), 240, lambda: run.said)
    filler = Thread(target=fill, args=(disk, stop))
    filler.start()
    try:
        code = run.wait(240)
    finally:
        stop.set()
        filler.join()
    COUNTS.faults += 1
    assert code == 1, run.said
    assert "the disk is full (" in run.said
    assert "Traceback" not in run.said
    (disk / "filler").unlink()
    last = beamtime.watch()
    beamtime.scan()
    assert last.wait(400) == 0, last.said


def test_one_interrupt_ends_a_run_that_waits(tmp_path: Path) -> None:
    growing = Growing(tmp_path, 2)
    growing.content["states"].append(growing.content["states"][1] | {"name": "3.6 V", "source": "scans/later"})
    told = tmp_path / "told"
    words: list[str | Path] = ["run", growing.recipe, "--store", growing.store, "--cluster", "threads", "--watch"]
    command = f'echo "$CRACKDASK_STATE" >> {told}; test "$CRACKDASK_STATE" != "4.2 V"'
    hook = ["--on-state", command]
    run = Process([*CRACKDASK, *words, "--settle", "0.5", *hook], tmp_path / "log", {"COLUMNS": "200"})
    try:
        until(lambda: "the command for it failed (1)" in run.said or not run.alive(), 240, lambda: run.said)
        began = time.monotonic()
        run.send(signal.SIGINT)
        assert run.wait(20) == 130, run.said
        print(f"ended {time.monotonic() - began:.1f} s after the interrupt")
    finally:
        run.kill()
    assert "3.6 V: not there yet" in run.said
    assert run.said.splitlines()[-1].startswith("stopped; the finished blocks are kept")
    assert sorted(told.read_text().split("\n")) == ["", "4.2 V", "pristine"]  # both are begun at once
    assert (tmp_path / "out-report" / "report.html").exists()
    again = growing.crackdask(*words, "--settle", "0.5", "--until-state", "4.2 V", *hook)
    assert again.code == 0
    assert sorted(told.read_text().split("\n")) == ["", "4.2 V", "pristine"]
