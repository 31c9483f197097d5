"""What several of these tests look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crackdask.storage.bucket import Prefix
from tests.support import five_states
from tests.support.bucket import Server, run_into
from tests.support.experiment import CUT, Experiment
from tests.support.growing import Growing
from tests.support.shared import made_once
from tests.support.store_files import copied
from tests.support.tiny import Tiny

#: Every block in a bucket costs tens of requests, and the server answers some hundreds a second.
TWO_BIG_BLOCKS = {"chunk": [20, 28, 16], "block": [20, 28, 16]}
#: Chunks enough to be lost and swapped, in two blocks: their number has nothing to do with what becomes of a chunk.
TWO_BLOCKS = {"block": [32, 32, 16]}


@pytest.fixture(scope="session")
def five_states_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run of the phantom of five states; look, do not touch."""
    return made_once(tmp_path_factory, "five-states", five_states.run) / "store.zarr"


@pytest.fixture(scope="session")
def grey_store(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the store of a run that came as far as grey; look, do not touch."""

    def make(folder: Path) -> None:
        outcome, _ = experiment.run(folder / "grey.zarr", CUT | {"keep_intermediate": False}, until="grey")
        assert not outcome.failures

    return made_once(tmp_path_factory, "grey", make) / "grey.zarr"


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an experiment that was run into a store on the disk; look, do not touch."""

    def make(folder: Path) -> None:
        tiny = Tiny(folder)
        tiny.change("compute", **TWO_BIG_BLOCKS)
        assert tiny.run().code == 0

    made = Tiny(made_once(tmp_path_factory, "local", make))
    made.change("compute", **TWO_BIG_BLOCKS)
    return made


@pytest.fixture(scope="session")
def sent(local: Tiny, own_server: Server) -> tuple[Prefix, int]:
    """Return the store of the same experiment in a bucket, and how many requests its run took; look, do not touch."""
    with own_server.pointed_to():
        store = own_server.bucket("bucket") / "deep" / "remote.zarr"
        before = own_server.requests()
        assert run_into(local, store).code == 0
        return store, own_server.requests() - before


@pytest.fixture
def remote(sent: tuple[Prefix, int], server: Server) -> Prefix:
    """Return that store, of which the environment tells where it is."""
    return sent[0]


@pytest.fixture(scope="session")
def two_blocks(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return an experiment in two blocks, run to its end; look, do not touch."""

    def make(folder: Path) -> None:
        tiny = Tiny(folder)
        tiny.change("compute", **TWO_BLOCKS)
        said = tiny.run()
        assert said.code == 0, said.err

    return Tiny(made_once(tmp_path_factory, "two-blocks", make))


@pytest.fixture
def copy(two_blocks: Tiny, tmp_path: Path) -> Tiny:
    """Return a copy of that experiment, to be damaged."""
    shutil.copytree(two_blocks.folder / "scans", tmp_path / "scans")
    tiny = Tiny(tmp_path)
    tiny.change("compute", **TWO_BLOCKS)
    copied(two_blocks.store, tiny.store)
    return tiny


@pytest.fixture(scope="session")
def beamtime(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    """Return an experiment whose store has three states; look, do not touch. Its recipe is this process's own."""

    def make(folder: Path) -> None:
        made = Growing(folder)
        for states, store in ((3, made.store), (2, folder / "two.zarr")):
            outcome, _ = made.grown(states, store)
            assert not outcome.failures

    mine = tmp_path_factory.mktemp("beamtime") / "mine"
    shutil.copytree(made_once(tmp_path_factory, "beamtime", make), mine, symlinks=True)
    return Growing(mine)


@pytest.fixture(scope="session")
def two_states(beamtime: Growing) -> Path:
    """Return a store that is finished with the first two; look, do not touch."""
    return beamtime.folder / "two.zarr"
