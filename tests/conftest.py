"""What several test files share: two small experiments, the stores of their runs, a Slurm, and turns of processes."""

from __future__ import annotations

from tests.support import numba_cache

# isort: split
import atexit
import faulthandler
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from crackdask.lazy_import import uncollected
from crackdask.storage.bucket import Prefix
from tests.support import scratch
from tests.support import slurm as slurm_daemons
from tests.support.bucket import Server, started
from tests.support.experiment import CUT, SMALL, Experiment, whole
from tests.support.fault_counts import COUNTS
from tests.support.shared import made_once
from tests.support.store_files import copied
from tests.support.tiny import Tiny
from tests.support.turns import turn

TURNS = pytest.StashKey[Path]()
#: Seconds that a test may take where several processes test.
LONGEST = 600

# How long an example takes says how busy the machine is, and which kernel was not yet compiled.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Test in two processes where everything is tested, and in this one where something is chosen."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    chosen = any(config.getoption(how, None) for how in ("keyword", "markexpr", "lf", "collectonly"))
    return 2 if everything and not chosen and (os.cpu_count() or 1) > 1 else 0


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the turns of the processes; there is nothing to wait for in a single one."""
    numba_cache.one_writer_at_a_time()
    os.environ["CRACKDASK_CACHE_DIR"] = f"{os.devnull}/none"  # runs of tests are remembered nowhere
    scratch.use()
    if hasattr(config, "workerinput"):
        config.stash[TURNS] = Path(config.workerinput["turns"])
    elif config.getoption("numprocesses", None):
        config.stash[TURNS] = Path(tempfile.mkdtemp(prefix="turns-"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Any:
    """Leave what is collected, which lasts as long as its process, out of every look for garbage."""
    with uncollected():
        found = yield
        gc.freeze()
    atexit.register(gc.freeze)
    return found


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["turns"] = str(node.config.stash[TURNS])


def pytest_unconfigure(config: pytest.Config) -> None:
    if TURNS in config.stash and not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[TURNS], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what runs alone, in the order that chance gave: then the processes wait for each other once."""
    items.sort(key=_is_alone)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Run a test when it is its turn."""
    turns = item.config.stash.get(TURNS, None)
    with turn(turns, alone=_is_alone(item)) if turns else nullcontext(), _limited() if turns else nullcontext():
        return (yield)


@contextmanager
def _limited() -> Iterator[None]:
    """End this process where a test has no end: another one takes its place, and says which test it was."""
    with os.fdopen(os.dup(2), "w") as said:  # pytest catches what goes to 2
        faulthandler.dump_traceback_later(LONGEST, exit=True, file=said)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what one of several processes counted to the one that sums up."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = COUNTS.as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    COUNTS.add(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what the fault suite did to runs, and what became of them."""
    if COUNTS.runs_compared:
        terminalreporter.write_sep("-", "faults")
        terminalreporter.write_line(str(COUNTS))


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return Experiment(made_once(tmp_path_factory, "experiment", Experiment.make))


@pytest.fixture(scope="session")
def whole_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run in which every state is one block, one after the other in one process."""

    def make(folder: Path) -> None:
        outcome, _ = experiment.run(folder / "whole.zarr", whole(SMALL) | {"keep_intermediate": True})
        assert not outcome.failures

    return made_once(tmp_path_factory, "whole", make) / "whole.zarr"


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Return a small experiment, not yet run."""
    return Tiny(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return the small experiment, run to its end; look, do not touch."""

    def make(folder: Path) -> None:
        said = Tiny(folder).run()
        assert said.code == 0, said.err

    return Tiny(made_once(tmp_path_factory, "finished", make))


@pytest.fixture
def ran(finished: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of the small experiment, run to its end; do with it what you like."""
    shutil.copytree(finished.folder / "scans", tmp_path / "scans")
    tiny = Tiny(tmp_path)
    copied(finished.store, tiny.store)
    return tiny


@pytest.fixture(scope="session")
def cut_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run in blocks that was never disturbed."""

    def make(folder: Path) -> None:
        outcome, job = experiment.run(folder / "cut.zarr", CUT)
        assert not outcome.failures
        assert len(job.grid) == 8

    return made_once(tmp_path_factory, "cut", make) / "cut.zarr"


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return the S3 server of this process."""
    with started(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def server(own_server: Server) -> Iterator[Server]:
    """Return that server, with the environment pointed to it; what other modules left in its buckets is there."""
    with own_server.pointed_to():
        yield own_server


@pytest.fixture(scope="module")
def bucket(server: Server) -> Prefix:
    return server.bucket("bucket")


@pytest.fixture(scope="session")
def slurm() -> Iterator[slurm_daemons.Slurm]:
    """Return a running Slurm with two nodes of two cores; whoever is done with it leaves no jobs behind."""
    if missing := slurm_daemons.missing():
        pytest.skip(f"no Slurm: {', '.join(missing)} not found; on Debian: apt-get install slurm-wlm munge")
    with slurm_daemons.running() as daemons:
        yield daemons
