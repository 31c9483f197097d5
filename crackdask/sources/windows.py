"""A box of a scan taken for the whole scan: what a preview reads of a field that is far larger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crackdask.grid import Box
from crackdask.sources.base import Source
from crackdask.storage.locations import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Window(Source):
    """A box of another scan; its own voxels are counted from the box's corner."""

    whole: Source
    box: Box

    @classmethod
    def of(cls, whole: Source, box: Box) -> Window:
        """Return a box of a scan."""
        return cls(box.shape, whole.dtype, whole.kind, whole.location, whole, box, unwritten=whole.unwritten)

    @property
    def inner(self) -> str:
        """Path of the dataset within the file."""
        return self.whole.inner

    def fingerprint(self) -> str:
        """Return a sha256 over what was scanned and which box of it this is."""
        return hashlib.sha256(repr((self.whole.fingerprint(), self.box)).encode()).hexdigest()

    def _load(self, box: Box) -> NDArray[Any]:
        start = tuple(a + b for a, b in zip(self.box.start, box.start, strict=True))
        stop = tuple(a + b for a, b in zip(self.box.start, box.stop, strict=True))
        return self.whole.read(Box(start, stop))  # type: ignore[arg-type]

    def _files(self) -> Iterable[tuple[str, Place]]:
        return self.whole._files()
