"""A block that takes all memory of its worker, and kernels that fail: always, and once."""

from __future__ import annotations

import re

import pytest

from tests.faults.harness import Cluster, Lab
from tests.support.fault_counts import COUNTS


def failures(said: str) -> list[str]:
    """Return the lines that name failed blocks."""
    return re.findall(r"^  (\S+ \(\w+\) block \d+ \[z .*?\]: .*)$", said, re.MULTILINE)


def test_a_kernel_that_fails_once(lab: Lab) -> None:
    lab.begin_after("read")
    blocks = ("grey-1 grey 2", "labels-0 saddles 5", "measure-1 particle_sums 7")
    lab.ask(*({"block": block, "how": "fail", "times": 1} for block in blocks))
    said = lab.finish("--cluster", "local", "--workers", "2")
    COUNTS.faults += len(blocks)
    assert said.count("is tried again: RuntimeError: a kernel that fails") == len(blocks)
    assert "is set aside" not in said
    lab.check_lost(in_flight=len(blocks))
    lab.check_same()


def test_kernels_that_always_fail(lab: Lab) -> None:
    """Two blocks of one step are set aside after three tries; all that does not hang on them is done."""
    lab.begin_after("grey")
    lab.ask(
        {"block": "denoise-1 denoise 3", "how": "fail", "times": 99},
        {"block": "denoise-1 denoise 6", "how": "reserve", "times": 99},
    )
    run = lab.run("--cluster", "local", "--workers", "2")
    assert run.wait() == 1, run.said
    COUNTS.faults += 6
    assert run.said.count("is tried again") == 4
    assert run.said.count("is set aside") == 2
    first, second = failures(run.said)
    assert re.fullmatch(r"denoise-1 \(denoise\) block 3 \[.*\]: RuntimeError: a kernel that fails", first)
    assert re.fullmatch(r"denoise-1 \(denoise\) block 6 \[.*\]: .*MemoryError: Unable to allocate .*", second)
    blocked, last = run.said.splitlines()[-2:]
    assert (
        blocked == "not done because of them: mask-1, transfer-1, sharpness-1, levels-1, measure-0, measure-1, track-0"
    )
    assert last == "everything else is kept; mend the cause and run the same command again"
    told = lab.status()
    assert [(found["unit"], found["block"]) for found in told.failed] == [("denoise-1", 3), ("denoise-1", 6)]
    assert told.at_work == (("denoise", lab.names[1], "denoise", 6, 8),)
    before = len(lab.lines())
    lab.ask()
    said = lab.finish("--cluster", "local", "--workers", "2")
    assert sorted(lab.said_to_be_done(said)) == sorted(told.rerun)  # two units at once end in either order
    again = {block for word, _, block in lab.lines()[before:] if word == "begin" and block.startswith("denoise-1")}
    assert again == {"denoise-1 denoise 3", "denoise-1 denoise 6"}
    lab.check_lost(in_flight=6)
    lab.check_same()


@pytest.mark.alone
def test_a_block_that_takes_all_memory(lab: Lab) -> None:
    """Its nanny ends each worker that tries it; after a few, twice, the block is set aside, and the others are done."""
    lab.begin_after("labels")
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    cluster = Cluster(lab, memory="900MiB", env=allowed)
    lab.ask({"block": "transfer-1 ascent 4", "how": "allocate", "times": 99, "bytes": 2**31})
    run = lab.run("--cluster", cluster.address)
    assert run.wait() == 1, run.said
    deaths = sum("exceeded 95% memory budget" in line for nanny in cluster.running for line in nanny.said.splitlines())
    assert deaths == 4
    COUNTS.faults += deaths
    (failed,) = failures(run.said)
    wanted = "WorkersLostError: 2 workers died at it one after the other, most likely for want of memory: raise"
    assert failed.startswith("transfer-1 (ascent) block 4 [")
    assert wanted in failed
    assert run.said.splitlines()[-1] == "everything else is kept; mend the cause and run the same command again"
    told = lab.status()
    assert ("transfer", lab.names[1], "ascent", 7, 8) in told.at_work
    lab.ask()
    lab.finish("--cluster", cluster.address)
    lab.check_lost(in_flight=deaths)
    lab.check_same()
