"""The work folder beside a store, on its disk or in its bucket: who holds it, which blocks are done, what was found.

``NAME.zarr.work/`` holds

* ``lock`` - held by the one run that writes; the system lets go of it when that process ends, however it ends
  (in object storage: a lease, `crackdask.storage.lease`),
* ``blocks/UNIT/PASS/000123`` - the record of a finished block with its tally, gone when the unit is done,
* ``results/UNIT`` - the tables a finished unit left, with the fingerprint of all that decided them,
* ``chunks/WHAT`` - seals: which chunk lies at which place of the store (`crackdask.store.seals`),
* ``root`` - a copy of what the store's root tells, from which it is restored,
* ``volumes/NAME-STATE`` - what only the run needs, gone when the last step that reads it is done.

Truth is in these files, never in a scheduler. A record is written after the block's voxels were flushed, under another
name first and then renamed, so that it is there whole or not at all; its checksum tells if the disk
damaged it later, and then the block counts as not done. A file ``.open`` among the records of a pass says that its
blocks are wanted: one that a lost worker is still at when the unit is done, or done otherwise, finds it gone and writes
nothing.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from crackdask.arrays import Array
from crackdask.engine.packed_arrays import Arrays, pack, unpack
from crackdask.engine.records import Records, RecordsFolder
from crackdask.schema import UnitKey
from crackdask.storage.lease import HeldError, holder, leased
from crackdask.storage.locations import Place, Prefix, beginning, forget, names, remove, write_whole
from crackdask.store.damage import DamagedError
from crackdask.store.root import StoreError

try:
    import fcntl
except ImportError:  # on Windows, where finished stores are read and none is written
    fcntl = None  # type: ignore[assignment]


def _is_locked(path: Path) -> bool:
    """Tell whether somebody holds a lock, without the right to write."""
    if fcntl is None:
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


#: Of which states a command of the user's was told.
STATES_TOLD = "states told"


@dataclass(frozen=True)
class Work:
    """The work folder of one store."""

    folder: Place

    @classmethod
    def beside(cls, store: Place) -> Work:
        """Return the work folder of a store (it need not exist yet)."""
        return cls(store.with_name(store.name + ".work"))

    @contextmanager
    def held(self, say: Callable[[str], None] = lambda words: None) -> Iterator[None]:
        """Hold the folder for one run; `say` is told why that takes long.

        Raises
        ------
        StoreError
            If another run holds it.
        """
        if not isinstance(self.folder, Prefix):
            with self._locked(self.folder):
                yield
            return
        try:
            with leased(self.folder / "lock", say):
                yield
        except HeldError as error:
            raise self._held_by(str(error)) from None

    def _held_by(self, who: str) -> StoreError:
        return StoreError(
            f"another run is writing this store ({who}); wait for it or stop it. "
            f"`crackdask status {str(self.folder).removesuffix('.work')}` tells how far it is"
        )

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        folder.mkdir(parents=True, exist_ok=True)
        # Not at once: `status` holds the lock for a moment when it looks.
        lock, owner = FileLock(folder / "lock", timeout=1), folder / "owner"
        try:
            lock.acquire()
        except Timeout:
            raise self._held_by(self._owner(folder)) from None
        try:
            for left in (*folder.glob(".*.partial"), *(folder / "results").glob(".*.partial")):
                left.unlink()
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def is_held(self) -> str | None:
        """Return who holds the folder, or None."""
        folder = self.folder
        if isinstance(folder, Prefix):
            return holder(folder / "lock")
        if not (folder / "lock").exists():
            return None
        lock = FileLock(folder / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return self._owner(folder)
        except OSError:  # it cannot be written from here, but perhaps from elsewhere
            return self._owner(folder) if _is_locked(folder / "lock") else None
        lock.release()
        return None

    @staticmethod
    def _owner(folder: Path) -> str:
        owner = folder / "owner"
        return owner.read_text().strip() if owner.exists() else "unknown"

    def records(self, unit: UnitKey, pass_: str, cut: str, blocks: int) -> Records:
        """Return the records of one pass; those of blocks that were cut otherwise do not count."""
        folder = RecordsFolder(pass_, cut[:16], blocks)
        return Records(self.folder / "blocks" / str(unit) / str(folder), blocks)

    def passes_begun(self) -> Iterator[tuple[UnitKey, str, Records]]:
        """Yield the passes of which blocks are recorded, with unit and name, in the order of their names."""
        for unit in sorted(names(self.folder / "blocks")):
            for name in sorted(names(self.folder / "blocks" / unit)):
                folder = RecordsFolder.parse(name)
                place = self.folder / "blocks" / unit / name
                yield UnitKey.parse(unit), folder.pass_, Records(place, folder.blocks)

    def keep_records(self, unit: UnitKey, cut: str) -> set[str]:
        """Drop a unit's records of blocks that were cut otherwise: what they tell of is about to be written over.

        Returns the names of the folders of the others.
        """
        folder = self.folder / "blocks" / str(unit)
        kept = set(names(folder))
        for name in list(kept):
            if RecordsFolder.parse(name).cut != cut[:16]:
                stale = folder / name
                stale.remove() if isinstance(stale, Prefix) else shutil.rmtree(stale)  # must be gone
                kept.discard(name)
        return kept

    def tables(self, unit: UnitKey) -> Place:
        """Return the folder in which workers look up the tables of a unit at work."""
        return self.folder / "tables" / str(unit)

    def put_table(self, unit: UnitKey, name: str, values: Array) -> Place:
        """Write a table that workers of a unit look up, and return where."""
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(values), allow_pickle=False)
        return write_whole(self.tables(unit) / f"{name}.npy", buffer.getvalue())

    def _result(self, unit: UnitKey) -> Place:
        return self.folder / "results" / str(unit)

    def result(self, unit: UnitKey) -> tuple[str, dict[str, Array]] | None:
        """Return the fingerprint and the tables of a finished unit, or None."""
        try:
            fingerprint, _, data = self._result(unit).read_bytes().partition(b"\n")
            return fingerprint.decode(), unpack(data)
        except (FileNotFoundError, RuntimeError, ValueError, OSError, EOFError):
            return None

    def fingerprint(self, unit: UnitKey) -> str | None:
        """Return the fingerprint of a finished unit without its tables, or None."""
        try:
            return beginning(self._result(unit), 65).partition(b"\n")[0].decode()
        except (FileNotFoundError, IsADirectoryError, ValueError):
            return None

    def has_results(self) -> bool:
        """Tell whether any unit left a result; a finished store is moved about without them."""
        return (self.folder / "results").exists()

    def recorded(self) -> set[str]:
        """Return the names of the units that left a result, whole or not."""
        return set(names(self.folder / "results"))

    def finish(self, unit: UnitKey, fingerprint: str, tables: Arrays) -> None:
        """Record a unit as done, then drop its block records."""
        write_whole(self._result(unit), fingerprint.encode() + b"\n" + pack(tables))
        self.drop_records(unit)

    def drop_records(self, unit: UnitKey) -> None:
        """Drop the block records of a finished unit, and the tables that its workers looked up."""
        remove(self.folder / "blocks" / str(unit))
        remove(self.tables(unit))

    def put_part(self, name: str, state: int, part: int, tables: Arrays) -> None:
        """Write part of what a volume's name and state stand for: tables too large to be held whole."""
        write_whole(self.volume(name, state) / str(part), pack(tables))

    def part(self, name: str, state: int, part: int) -> dict[str, Array]:
        """Return what `put_part` wrote.

        Raises
        ------
        DamagedError
            If it is not there whole.
        """
        path = self.volume(name, state) / str(part)
        try:
            return unpack(path.read_bytes())
        except (FileNotFoundError, RuntimeError, ValueError, EOFError) as error:
            damage = f"{path}: damaged on the disk or by a copy ({error})"
            raise DamagedError(
                damage, f"to have it made anew, remove {path.parent} and run again", name, state
            ) from error

    def forget(self, unit: UnitKey) -> None:
        """Drop the result of a unit that must be done again."""
        forget(self._result(unit))

    def forget_state(self, state: int) -> None:
        """Drop all that tells of the units of a state, and their volumes."""
        for kind in ("results", "blocks", "tables", "volumes"):
            for name in names(self.folder / kind):
                if name.endswith(f"-{state}"):
                    remove(self.folder / kind / name)

    def start_anew(self) -> None:
        """Drop all that tells of finished units and blocks: the store that they wrote to is no more."""
        for name in ("root", STATES_TOLD):
            forget(self.folder / name)
        for name in ("results", "blocks", "tables", "volumes", "chunks"):
            remove(self.folder / name)
            if names(self.folder / name):
                raise StoreError(
                    f"{self.folder / name} cannot be removed, and tells of a store that is gone; remove it"
                )

    def volume(self, name: str, state: int) -> Place:
        """Return where a work volume lies."""
        return self.folder / "volumes" / f"{name}-{state}"

    def drop_volume(self, name: str, state: int) -> None:
        """Remove a work volume."""
        remove(self.volume(name, state))

    def at_work(self) -> set[UnitKey]:
        """Return the units that have block records, or tables for workers."""
        return {UnitKey.parse(name) for kind in ("blocks", "tables") for name in names(self.folder / kind)}

    def volumes(self) -> list[str]:
        """Return the names of the work volumes that are there."""
        return names(self.folder / "volumes")

    def note(self, name: str, values: Any) -> None:
        """Write down a small fact for `status`, as JSON."""
        write_whole(self.folder / name, json.dumps(values).encode())

    def noted(self, name: str) -> Any:
        """Return what `note` wrote, or None."""
        try:
            return json.loads((self.folder / name).read_text())
        except (FileNotFoundError, IsADirectoryError, ValueError):
            return None
