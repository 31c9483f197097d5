"""Arrays that are kept as long as they fit into a number of bytes; the one that was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

from crackdask.arrays import Array


class ByteCache:
    """Arrays by key, bounded in bytes, for several threads.

    Parameters
    ----------
    most
        Bytes that are kept at most. A single array above that is returned, but not kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()
        self._lock = Lock()
        self._at_work: dict[Hashable, Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """Return the array of a key; whoever asks first makes it, and others who ask meanwhile wait for that."""
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
            turn = self._at_work.setdefault(key, Lock())
        with turn:
            with self._lock:
                if key in self._arrays:
                    return self._arrays[key]
            try:
                array = make()
                self._keep(key, array)
                return array
            finally:
                with self._lock:
                    self._at_work.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._arrays.clear()
            self.held = 0

    def _keep(self, key: Hashable, array: Array) -> None:
        with self._lock:
            if array.nbytes > self.most:
                return
            self._arrays[key] = array
            self.held += array.nbytes
            while self.held > self.most:
                _, oldest = self._arrays.popitem(last=False)
                self.held -= oldest.nbytes
