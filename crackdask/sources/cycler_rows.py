"""The rows of a cycler's file, piece by piece, and only the columns that are wanted."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from crackdask.lazy_import import Later
from crackdask.sources.base import SourceError
from crackdask.sources.cycler_text import Layout
from crackdask.storage.locations import Place, opened

if TYPE_CHECKING:
    import pandas as pd
else:  # which every command would wait for
    pd = Later("pandas")

_AT_ONCE = 200_000
#: Bits of an .mpr file's flags that tell the mode of the cycler.
_MODE = 3
#: EC-Lab writes as many digits into each exponent, and ends its files without an end of the line.
_WHOLE_NUMBER = re.compile(r"[eE][-+]\d{3}\s*$")
_MISSING = ["XXX", "xxx", "n/a", "nan", "NaN", ""]


class _WholeLines:
    """Text of a file as it can be read: minus signs, and no line of which nobody knows the numbers.

    Of a last line that is being written a number may have no end. In one with more cells than there are headings, as by
    commas in numbers between commas, nobody knows which number stands under which: its cells are left empty.
    """

    def __init__(self, file: TextIO, separator: str, cells: int, headings: int) -> None:
        self._file, self._separator, self._cells, self._headings = file, separator, cells, headings
        self._held = ""

    def read(self, size: int = -1) -> str:
        """Return the next lines, all whole, or nothing at the end."""
        while text := self._file.read(size):
            text = self._held + text
            at = text.rfind("\n") + 1
            self._held = text[at:]
            if at:
                return self._told(text[:at])
        last, self._held = self._held, ""
        cells = len(next(csv.reader([last], delimiter=self._separator), []))
        ended = cells - (0 if _WHOLE_NUMBER.search(last) else 1)
        return self._told(f"{last}\n") if ended >= self._cells else ""

    def _told(self, text: str) -> str:
        text = text.replace("\u2212", "-")
        if self._separator != "," or '"' in text:
            return text
        lines = text.split("\n")
        for n, line in enumerate(lines):
            if line.count(",") >= self._headings and line.rstrip("\r, ").count(",") >= self._headings:
                lines[n] = "," * (self._headings - 1)
        return "\n".join(lines)

    def __iter__(self) -> Iterator[str]:
        """Yield pieces of text, by which pandas knows a file."""
        while text := self.read(2**18):
            yield text


def text_rows(path: Place, layout: Layout, wanted: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of a text file; of what is no number, texts."""
    where = [layout.headings.index(name) for name in wanted]
    with opened(path) as file:
        text = io.TextIOWrapper(file, layout.encoding, errors="replace")
        for _ in range(layout.skipped + 1):  # not by pandas, which takes a quote in a comment for that of a cell
            text.readline()
        lines: Any = _WholeLines(text, layout.separator, max(where) + 1, len(layout.headings))
        # Rows may be shorter than the headings, as EC-Lab's are that have a heading without a name.
        reader = pd.read_csv(
            lines, sep=layout.separator, decimal=layout.decimal, header=None, names=list(range(max(where) + 1)),
            usecols=where, na_values=_MISSING, chunksize=_AT_ONCE, index_col=False, skip_blank_lines=True,
            on_bad_lines="skip",
        )  # fmt: skip
        try:
            for piece in reader:
                yield piece[where].set_axis(list(wanted), axis=1)
        except pd.errors.ParserError as error:
            raise SourceError(f"{path}: rows end before {wanted[-1]!r} ({error}); export it again") from None


def binary_rows(path: Place) -> tuple[pd.DataFrame, datetime | None, Sequence[int]]:
    """Return the table of an .mpr file, when it began, and the rows with which its loops begin."""
    try:
        from galvani import BioLogic
    except ImportError:
        raise SourceError(
            f"{path}: reading .mpr takes galvani, which is not installed: pip install datalab-org-galvani, or export "
            "the file as text (.mpt) in EC-Lab"
        ) from None
    way_out = "export it as text (.mpt) in EC-Lab"
    with opened(path) as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = BioLogic.MPRfile(file)
        except (ValueError, NotImplementedError, AssertionError, RuntimeError) as error:  # what it does not know
            raise SourceError(f"{path}: galvani cannot read it ({type(error).__name__}: {error}); {way_out}") from error
    # A column that it does not know has the width that rows leave to it; of two nobody knows which is the wider.
    unknown = [str(each.message) for each in caught if "nknown column" in str(each.message)]
    if len(unknown) > 1:
        raise SourceError(f"{path}: galvani cannot read it ({'; '.join(unknown)}); {way_out}")
    frame = pd.DataFrame(found.data)
    if frame.empty:
        raise SourceError(f"{path}: the table has no row, as of a technique that only waits; leave it out")
    if "flags" in frame:
        frame["mode"] = frame["flags"] & _MODE
    loops = getattr(found, "loop_index", None)
    return frame, getattr(found, "timestamp", None), () if loops is None else loops.tolist()
