"""What a run knows before it has looked at all that is there."""

from __future__ import annotations

from typing import Any

from crackdask.engine.executors import Serial
from crackdask.engine.progress import Silent
from crackdask.engine.run import Run
from crackdask.engine.scans import Scans
from crackdask.recipe.recipe import check
from crackdask.store import root
from tests.support.tiny import Tiny


def may_be_done(tiny: Tiny) -> bool:
    return Run(Scans.of(check(tiny.content), tiny.folder), tiny.store, Serial(), Silent()).may_be_done()


def test_the_root_of_a_store_tells_that_something_is_to_be_done(ran: Tiny) -> None:
    assert may_be_done(ran)
    steps = root.attributes(ran.store)["steps"]
    other = {"mask-1": {**steps["mask-1"], "fingerprint": "0"}}
    changes: list[dict[str, Any]] = [{"complete": False}, {"steps": []}, {"steps": steps | other}]
    for change in changes:
        root.set_attributes(ran.store, {"complete": True, "steps": steps, **change})
        assert not may_be_done(ran), change
    root.set_attributes(ran.store, {"complete": True, "steps": steps})
    ran.content["mask"] = {"min_island": 7}
    assert not may_be_done(ran)
