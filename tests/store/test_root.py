"""The root of a store: what is consolidated there, and in each group, is what zarr makes of the same files."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zarr
from hypothesis import given
from hypothesis import strategies as st

from crackdask.store.metadata import unlike
from crackdask.store.root import attributes, change_attributes, consolidate, set_attributes
from tests.support.tiny import Tiny


def heads(store: Path) -> dict[str, bytes]:
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("zarr.json")}


def test_what_is_consolidated_is_what_zarr_makes_of_it(ran: Tiny) -> None:
    (ran.store / "notes").mkdir()  # which is no group
    zarr.create_group(ran.store / "added").create_group("below", attributes={"by": "somebody"})
    consolidate(ran.store)
    found = heads(ran.store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for group in sorted(file.parent for file in ran.store.glob("*/zarr.json")):
            zarr.consolidate_metadata(group)
        zarr.consolidate_metadata(ran.store)
    assert found == heads(ran.store)
    told = json.loads(found["zarr.json"])["consolidated_metadata"]["metadata"]
    assert {"added/below", "volumes/grey", "labels/particle/0/label", "particles/voxels"} <= told.keys()
    assert list(unlike(ran.store)) == []


def test_what_is_known_is_not_read(ran: Tiny) -> None:
    wanted = heads(ran.store)
    known = {name: head for name, head in wanted.items() if name.startswith("particles/")}
    (ran.store / "particles" / "voxels" / "zarr.json").write_text("not JSON")
    consolidate(ran.store, known)
    assert {**heads(ran.store), **known} == wanted


def test_attributes_are_changed_by_what_they_were(ran: Tiny) -> None:
    before = attributes(ran.store)
    told = change_attributes(ran.store, lambda facts: {"states": len(facts["identity"]["states"])})
    assert told == {**before, "states": 2} == attributes(ran.store)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_the_root_is_written_as_json_writes_it(value: Any) -> None:
    root = {
        "attributes": {"a": 1},
        "zarr_format": 3,
        "consolidated_metadata": {"metadata": value},
        "node_type": "group",
    }
    with TemporaryDirectory() as folder:
        file = Path(folder, "zarr.json")
        file.write_text(json.dumps(root))
        set_attributes(Path(folder), {"b": value})
        root["attributes"] = {"a": 1, "b": value}
        assert file.read_text() == json.dumps(root, indent=2)
