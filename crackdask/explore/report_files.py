"""The report of a store, as `crackdask report` wrote it, shown by the explorer to who may see the store."""

from __future__ import annotations

import os
from pathlib import Path

from tornado import web
from tornado.ioloop import IOLoop

from crackdask.explore.access import Guarded

_PAGE = "report.html"
#: What a report consists of, by suffix.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


class WrittenReport:
    """A folder that may hold a report; what lies in it may change at any time.

    Parameters
    ----------
    folder
        Where `crackdask report` writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def is_there(self) -> bool:
        """Whether there is a page."""
        return (self._folder / _PAGE).is_file()

    def files(self) -> dict[str, Path]:
        """Return its files by the name that they are asked for with; "" is the page. A name of a request is no path."""
        found: dict[str, Path] = {}
        for below in ("", "figures/"):
            try:
                entries = list(os.scandir(self._folder / below))
            except (FileNotFoundError, NotADirectoryError):
                continue
            found |= {
                f"{below}{entry.name}": Path(entry.path)
                for entry in entries
                if entry.is_file(follow_symlinks=False) and Path(entry.name).suffix in _TYPES
            }
        if _PAGE in found:
            found[""] = found.pop(_PAGE)
        return found


class ReportFile(Guarded):
    """The page of the report, and the figures and numbers that it leads to."""

    report: WrittenReport

    async def get(self, name: str) -> None:
        """Answer with a file."""
        kind, data = await IOLoop.current().run_in_executor(None, self._read, name)
        self.set_header("Content-Type", kind)
        self.write(data)

    def _read(self, name: str) -> tuple[str, bytes]:
        path = self.report.files().get(name)
        if path is None:
            words = "there is no such page" if name else "there is no report yet: `crackdask report STORE` writes it"
            raise web.HTTPError(404, reason=words)
        data = path.read_bytes()
        if not name:  # its links into the explorer lead somewhere here
            data = data.replace(b'<html lang="en">', b'<html lang="en" class="served">', 1)
        return _TYPES[path.suffix], data
