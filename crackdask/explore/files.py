"""What a browser loads: the page's own files, and BokehJS out of the package `bokeh`; read once, at the start.

A request names an entry of a table, never a file: no path of a request reaches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from bokeh.util.paths import bokehjs_path

#: Types by suffix of what the page consists of.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: Charts: BokehJS itself, and what makes plots without a server.
_BOKEH = ("bokeh.min.js", "bokeh-api.min.js")


@dataclass(frozen=True)
class File:
    """A file in memory, compressed."""

    kind: str
    packed: bytes
    tag: str


@cache
def page_files() -> dict[str, File]:
    """Return every file of the page by the path that it is asked for with; "" is the page itself."""
    folder = files("crackdask.explore") / "page"
    found = {each.name: each.read_bytes() for each in folder.iterdir() if Path(each.name).suffix in _TYPES}
    # All modules are asked for at once, not when the one that imports them has come.
    ahead = "\n".join(f'<link rel="modulepreload" href="{name}">' for name in sorted(found) if name.endswith(".js"))
    found[""] = found.pop("index.html").replace(b"</head>", f"{ahead}\n</head>".encode())
    held = {name: _packed(name or "index.html", data) for name, data in found.items()}
    scripts = Path(bokehjs_path()) / "js"
    return held | {f"bokeh/{name}": _packed(name, (scripts / name).read_bytes()) for name in _BOKEH}


def _packed(name: str, data: bytes) -> File:
    return File(
        _TYPES[Path(name).suffix], gzip.compress(data, 6, mtime=0), f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    )
