"""Real processes to run, and to disturb: runs of the command, dask clusters, and what they left in their stores."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from crackdask.engine.status import Status, status
from crackdask.schema import STEPS
from tests.faults import nanny
from tests.support import forked
from tests.support.experiment import Experiment
from tests.support.fault_counts import COUNTS
from tests.support.store_files import copied, files, work_folder
from tests.support.waiting import until

#: Of all that is random here; every moment is printed with what follows from it.
SEED = int(os.environ.get("CRACKDASK_FAULT_SEED", "20251"))
#: The command line as its user starts it.
CRACKDASK = (sys.executable, "-c", "import sys; from crackdask.cli import main; sys.argv[0] = 'crackdask'; main()")
PRELOAD = Path(__file__).with_name("preload.py")
#: Blocks that divide nothing evenly: 8 of the stored volume.
CUT = {"block": [16, 20, 24], "chunk": [8, 10, 12]}
#: The last step, which the run does itself, in less time than a test may need to look.
LAST = "track-0"


def chance(what: str) -> random.Random:
    """Return a source of chance for one test, the same in each run of the suite."""
    print(f"{what}: CRACKDASK_FAULT_SEED={SEED}")
    return random.Random(f"{SEED} {what}")


@dataclass
class Process:
    """A process in a session of its own, with all it says in a file."""

    words: Sequence[str | Path]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.log.open("ab") as file:
            self.popen = forked.start([str(word) for word in self.words], file, {**os.environ, **self.env})

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = 90) -> int:
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds:g} s, having said:\n{self.said}") from None

    def alive(self) -> bool:
        return self.popen.poll() is None

    def send(self, sent: signal.Signals, *, everybody: bool = False) -> None:
        """Send a signal to the process, or to everybody in its session."""
        (os.killpg if everybody else os.kill)(self.pid, sent)

    def kill(self) -> None:
        """Kill the process and all that it started, and see that it is gone."""
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait(20)
        for pid in self.others():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def others(self) -> list[int]:
        """Return the processes of its session that are there still."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError):
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state != "Z":
                    found.append(int(path.parent.name))
        return found


class Running(Protocol):
    """A run at work, wherever it is."""

    @property
    def said(self) -> str: ...

    def alive(self) -> bool: ...


@dataclass
class Lab:
    """A folder with scans, a recipe and whatever runs there; everything started is ended by its pid."""

    folder: Path
    experiment: Experiment
    wanted: Path | None = None
    #: Where stores lie that are done up to a step.
    half_done: Path | None = None
    processes: list[Process] = field(default_factory=list)
    #: Settings of the workers, for every process that may start some.
    env: dict[str, str] = field(default_factory=dict)
    holds_last: bool = False

    def __post_init__(self) -> None:
        self.log = self.folder / "blocks.log"
        self.ask()
        self.env |= {
            "CRACKDASK_FAULTS": str(self.folder / "faults.json"),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps([str(PRELOAD)]),
            # Kernels are compiled once, in the process that made the undisturbed run.
            "COLUMNS": "120",
        }
        self.recipe = self.experiment.folder / "recipe.toml"
        self.store = self.folder / "out.zarr"

    def ask(self, *faults: Mapping[str, Any], pause: float = 0.02) -> None:
        """Ask the workers for faults; every block takes a little pause, so that there is something to hit."""
        asked = self.folder / "faults.json"
        fresh = asked.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"log": str(self.log), "pause": pause, "faults": faults}))
        fresh.replace(asked)

    def begin_after(self, step: str) -> None:
        """Begin with a store in which all steps up to one are done: what is disturbed comes later."""
        assert self.half_done
        copied(self.half_done / f"{step}.zarr", self.store)

    def start(self, *words: str | Path, name: str = "", env: Mapping[str, str] | None = None) -> Process:
        """Start a process that ends with the test."""
        log = self.folder / f"{len(self.processes):03d}{name}.log"
        process = Process(words, log, self.env | dict(env or {}))
        self.processes.append(process)
        return process

    def run(self, *options: str | Path, before: Sequence[str] = ()) -> Process:
        """Start a run, by default on two threads of its own."""
        is_watched = self.holds_last or "--cluster" not in options
        command = (sys.executable, PRELOAD) if is_watched else CRACKDASK
        options = options or ("--cluster", "threads", "--workers", "2")
        return self.start(*before, *command, "run", self.recipe, "--store", self.store, *options, name="-run")

    def held_at(self, block: str, *options: str | Path) -> Process:
        """Start a run and return when it is at a block, which it holds until the file `go` is there."""
        self.ask({"block": block, "how": "hold", "times": 1, "until": [str(self.folder / "go")]})
        run = self.run(*options)

        def there() -> bool:
            assert run.alive(), run.said
            return ("begin", block) in {(word, what) for word, _, what in self.lines()}

        until(there, 90, lambda: run.said)
        self.ask()
        return run

    def hold_last_step(self) -> None:
        """Have the runs of this test wait before their last step, until `go_on`."""
        self.holds_last = True
        self.ask({"block": LAST, "how": "hold", "times": 9, "until": [str(self.folder / "go")] * 9})

    def go_on(self) -> None:
        """Let go of what is held."""
        (self.folder / "go").touch()

    def fails(self, code: int, *options: str | Path) -> str:
        """Run, see that it ends in an exit code and without a traceback, and return its last line."""
        run = self.run(*options)
        assert run.wait() == code, run.said
        assert "Traceback" not in run.said
        return run.said.splitlines()[-1]

    def finish(self, *options: str | Path) -> str:
        """Run to the end, and return what it says."""
        run = self.run(*options)
        assert run.wait() == 0, run.said
        return run.said

    def end(self) -> None:
        for process in self.processes:
            process.kill()

    # ------------------------------------------------------------ what is there

    @property
    def work(self) -> Path:
        return work_folder(self.store)

    def is_done(self, unit: str) -> bool:
        return (self.work / "results" / unit).exists()

    def lines(self) -> list[tuple[str, int, str]]:
        """Return what was noted: (begin or end, process, block), and of the run itself (last, process, unit)."""
        if not self.log.exists():
            return []
        whole = self.log.read_text().rpartition("\n")[0].splitlines()
        return [(word, int(pid), block) for word, pid, block in (line.split(" ", 2) for line in whole)]

    def begun(self, unit: str) -> int:
        return sum(word == "begin" and f"{block} ".startswith(f"{unit} ") for word, _, block in self.lines())

    def at_work(self) -> list[int]:
        """Return the processes that do a block now, the last first."""
        doing: dict[int, bool] = {}
        for word, pid, _ in self.lines():
            doing.pop(pid, None)
            if word == "begin":
                doing[pid] = True
        return [pid for pid in reversed(doing) if Path(f"/proc/{pid}").exists()]

    # ------------------------------------------------------------ what is asserted

    def check_lost(self, in_flight: int) -> int:
        """Assert that no block was done again once it was done, and few that were not; return how many."""
        ended: set[str] = set()
        begun: Counter[str] = Counter()
        for word, _, block in self.lines():
            if word == "begin":
                assert block not in ended, f"{block} was done and was done again"
                begun[block] += 1
            elif word == "end":
                ended.add(block)
        again = sum(begun.values()) - len(begun)
        print(f"{again} of {len(begun)} blocks were begun again, {in_flight} may be")
        assert again <= in_flight
        COUNTS.recomputed += again
        return again

    def check_same(self) -> None:
        """Assert that the store is, byte for byte, that of an undisturbed run."""
        assert self.wanted
        found, wanted = files(self.store), files(self.wanted)
        differ = [name for name in sorted({*found, *wanted}) if found.get(name) != wanted.get(name)]
        COUNTS.runs_compared += 1
        COUNTS.results_that_differ += len(differ)
        COUNTS.bytes_lost += sum(len(wanted[name]) for name in differ if name in wanted)
        assert differ == []
        told = self.status()
        assert told.complete
        assert (told.running, told.at_work, told.failed, told.rerun) == (None, (), (), ())

    def held_by(self) -> int | None:
        """Return the process that holds the store, if there is one: by the system's list of locks, not by asking."""
        lock = self.work / "lock"
        if not lock.exists():
            return None
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
        held = [int(words[4]) for words in locks if words[5].endswith(f":{lock.stat().st_ino}")]
        return held[0] if held else None

    def status(self, run: Process | int | None = None) -> Status:
        """Return what `status` tells, having held it against the files, the workers' notes and the processes."""
        pid = run.pid if isinstance(run, Process) else run
        results, before = self._results(), self._blocks("end")
        told = status(self.store)
        later, begun = self._results(), self._blocks("begin")
        names = self.names
        done = {f"{step.step}-{names.index(state)}" for step in told.steps for state in step.done}
        assert results <= done <= later, (results, done, later)
        for step, state, passed, blocks, of in told.at_work:
            key = f"{step}-{names.index(state)} {passed}"
            assert f"{step}-{names.index(state)}" not in results
            # One more than noted may be recorded: a worker may be killed between its record and its note.
            assert before[key] <= blocks <= begun[key] <= of, (key, before[key], blocks, begun[key], of)
        if pid is None:
            assert told.running is None
            assert told.complete == (not told.rerun)
        else:
            is_told = told.complete or (told.running or "").startswith(f"process {pid} on ")
            # A process lets go of the store before it ends: one that is not told of must be on its way out.
            if not is_told:
                until(lambda: not Path(f"/proc/{pid}").exists(), 20, lambda: f"process {pid} is at work, untold")
        left = {f"{step.step}-{names.index(state)}" for step in told.steps for state in step.left}
        assert left <= {f"{step}-{names.index(state)}" for step, state in told.rerun}
        return told

    def _results(self) -> set[str]:
        return {path.name for path in (self.work / "results").glob("[a-z]*")}

    def _blocks(self, wanted: str) -> Counter[str]:
        """Return how many blocks of each pass were noted, each once."""
        noted = {block for word, _, block in self.lines() if word == wanted}
        return Counter(block.rpartition(" ")[0] for block in noted)

    @property
    def names(self) -> list[str]:
        return [state["name"] for state in self.experiment.recipe({})["states"]]

    def said_to_be_done(self, said: str) -> list[tuple[str, str]]:
        """Return the steps that a run said it did, as `status` names those that a rerun would do."""
        found = re.findall(r"^done (\w+)(?: (.+?))?  ", said, re.MULTILINE)
        return [(step, state or self.names[0]) for step, state in found]


def _is_copied_from(pid: int) -> bool:
    """Tell whether a process is the one that workers are copies of, or a copy."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return any(word.startswith(b"from multiprocessing.forkserver") for word in words)


@dataclass
class Cluster:
    """A dask scheduler and workers, each a process of its own, as a batch system would start them."""

    lab: Lab
    workers: int = 2
    threads: int = 1
    memory: str = "2GiB"
    #: Whether each worker has a process beside it that starts it again.
    nanny: bool = True
    host: str = "127.0.0.1"
    #: What stands before the commands that start them.
    before_scheduler: tuple[str, ...] = ()
    before_worker: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            self.port = held.getsockname()[1]
        self.running: list[Process] = []
        self.start_scheduler()
        self.add(self.workers)

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    def start_scheduler(self) -> None:
        self.scheduler = self.lab.start(
            *self.before_scheduler, sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", self.host,
            "--port", str(self.port), "--no-dashboard", name="-scheduler", env=self.env,
        )  # fmt: skip
        until(lambda: "Scheduler at:" in self.scheduler.said, 30, lambda: self.scheduler.said)

    def add(self, count: int = 1) -> None:
        """Start workers and wait for them."""
        self.wait([self.start_worker(self.before_worker, self.host) for _ in range(count)])

    def start_worker(self, before: Sequence[str], host: str, *options: str) -> Process:
        alone = ("--preload-nanny", nanny.__file__) if self.nanny else ("--no-nanny",)
        worker = self.lab.start(
            *before, sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--host", host,
            "--nthreads", str(self.threads), "--no-dashboard", "--memory-limit", self.memory, "--death-timeout", "30",
            "--local-directory", self.lab.folder, *alone, *options, name="-worker",
            env={**(nanny.SETTINGS if self.nanny else {}), **self.env},
        )  # fmt: skip
        self.running.append(worker)
        return worker

    def wait(self, workers: Sequence[Process]) -> None:
        def registered(worker: Process) -> bool:
            return "Registered to" in worker.said

        for worker in workers:
            until(partial(registered, worker), 60, partial(getattr, worker, "said"))

    def worker_pids(self) -> list[int]:
        """Return the worker processes that nannies look after."""
        found = []
        for looking in self.running:
            for pid in looking.others():
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if pid != looking.pid and _is_copied_from(pid) and _is_copied_from(parent):
                    found.append(pid)
        return found

    def kill_workers(self) -> None:
        """Kill all workers with whatever looks after them, as a job's end does."""
        for worker in self.running:
            worker.kill()
        self.running.clear()

    def restart(self) -> None:
        """Start it all again at the same address."""
        self.scheduler.kill()
        self.kill_workers()
        self.start_scheduler()
        self.add(self.workers)


#: A unit of every step, in the order in which a run of two states comes to them; those of a step are alternatives.
IN_ORDER = (
    "read-0", "grey-0", "read-1", "register-1", "grey-1", "denoise-0", "mask-0", "labels-0", "sharpness-0",
    "levels-0", "denoise-1", "mask-1", "transfer-1", "sharpness-1", "levels-1", "measure-0", "measure-1", LAST,
)  # fmt: skip


#: Steps of the runs that are killed: of tomograms, without a cycler.
DONE = [step for step in STEPS if step not in ("reconstruct", "tomograms", "electrochemistry")]


def one_of_every_step(rng: random.Random) -> list[str]:
    """Return a unit of every step, by chance, in the order of a run."""
    chosen = {step: rng.choice([unit for unit in IN_ORDER if unit.startswith(f"{step}-")]) for step in DONE}
    return sorted(chosen.values(), key=IN_ORDER.index)


@dataclass
class Moments:
    """Random moments in the units of a run, from what an undisturbed run took for them."""

    lab: Lab
    rng: random.Random
    blocks: Mapping[str, int]
    seconds: Mapping[str, float]

    def order(self, unit: str) -> int:
        return IN_ORDER.index(unit)

    def wait(self, unit: str, run: Running) -> None:
        """Wait for a random moment within a unit; one that was begun ahead by the run before this may be over.

        Of the last unit it is the moment before it, at which the run is held.
        """
        if unit == LAST:
            self._until(lambda: "last" in {word for word, _, _ in self.lab.lines()}, run)
            return
        blocks, lines = self.blocks.get(unit, 0), len(self.lab.lines())
        self._until(lambda: len(self.lab.lines()) > lines or self._is_over(unit, blocks, run), run)
        number, delay = self.rng.randint(1, max(1, blocks)), self.rng.random()
        if blocks:
            print(f"{unit}: block {number} of {blocks} and {20 * delay:.0f} ms")
            self._until(lambda: self.lab.begun(unit) >= number, run)
            time.sleep(0.02 * delay)
        else:
            before = IN_ORDER[IN_ORDER.index(unit) - 1]
            print(f"{unit}: {delay:.2f} of its {self.seconds[unit]:.2f} s after {before}")
            self._until(lambda: self.lab.is_done(before), run)
            time.sleep(0.5 * delay * self.seconds[unit])

    def _is_over(self, unit: str, blocks: int, run: Running) -> bool:
        """Tell whether workers that outlived the run before did all that was left of a unit."""
        return 0 < blocks <= self.lab.begun(unit) and "worker" in run.said

    def _until(self, ready: Callable[[], bool], run: Running) -> None:
        def there() -> bool:
            assert run.alive(), run.said
            return ready()

        until(there, 90, lambda: run.said)
