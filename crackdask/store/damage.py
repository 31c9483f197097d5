"""What is said of a store whose files are no longer what was written, and the way out."""

from __future__ import annotations

from crackdask.schema import TOMOGRAMS, VOXEL_GROUPS, written_as
from crackdask.storage.locations import Place, names
from crackdask.store.root import StoreError


class DamagedError(StoreError):
    """What was written is no longer what is read; a run makes it anew."""

    def __init__(self, found: str, remedy: str, name: str, state: int, reason: str = "") -> None:
        super().__init__(found, remedy, name, state, reason)
        self.found, self.name, self.state, self.reason, self._remedy = found, name, state, reason, remedy

    def __str__(self) -> str:
        return f"{self.found}; {self._remedy}"


def damaged_chunk(store: Place, key: str, reason: str) -> DamagedError:
    """Return the error of a chunk of a store."""
    array, _, chunk = key.partition("/c/")
    group, name = array.partition("/")[0], written_as(array)
    state = int(chunk.partition("/")[0]) if _is_of_state(key) else 0
    reason = f"chunk c/{chunk}: {reason}"
    if group == "cracks":
        remedy = f"to have it made anew, remove {store / group} and run `crackdask cracks {store}`"
    else:
        remedy = f"to have it made anew, remove {record_of(store, key)} and run again"
    found = f"{store / array}: damaged on the disk or by a copy ({reason})"
    return DamagedError(found, remedy, name, state, reason)


def _is_of_state(key: str) -> bool:
    """Tell whether a chunk holds voxels of a state."""
    array, _, chunk = key.partition("/c/")
    return array.partition("/")[0] in VOXEL_GROUPS and "/" in chunk


def record_of(store: Place, key: str) -> Place:
    """Return the file or folder without which a run makes a chunk's volume, or its table, again."""
    array, _, chunk = key.partition("/c/")
    group, name = array.partition("/")[0], written_as(array)
    steps: tuple[str, ...] = ("track",)
    otherwise = store / group
    if _is_of_state(key):
        makers = ("labels", "transfer") if name == "label" else (name.replace("denoised", "denoise"),)
        steps, otherwise = tuple(f"{step}-{chunk.partition('/')[0]}" for step in makers), store / array
    elif group in ("volumes", TOMOGRAMS):  # a coordinate, which no step makes
        return store / array
    home = store.resolve()
    results = home.with_name(f"{home.name}.work") / "results"
    found = [each for each in sorted(names(results)) if each in steps or each.partition("-")[0] in steps]
    return results / found[0] if found else otherwise
