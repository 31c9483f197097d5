"""What a browser loads: the page's own files, and BokehJS out of the package `bokeh`; read once, at the start.

A request names an entry of a table, never a file: no path of a request reaches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
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
    """A file in memory."""

    kind: str
    data: bytes

    @cached_property
    def packed(self) -> bytes:
        """The file compressed, once somebody asks for it: the scripts of charts are large, and needed last."""
        return gzip.compress(self.data, 6, mtime=0)

    @cached_property
    def tag(self) -> str:
        """What tells it from another version."""
        return f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'


@cache
def page_files() -> dict[str, File]:
    """Return every file of the page by the path that it is asked for with; "" is the page itself."""
    folder = files("crackdask.explore") / "page"
    found = {each.name: each.read_bytes() for each in folder.iterdir() if Path(each.name).suffix in _TYPES}
    # All modules are asked for at once, not when the one that imports them has come.
    ahead = "\n".join(f'<link rel="modulepreload" href="{name}">' for name in sorted(found) if name.endswith(".js"))
    found[""] = found.pop("index.html").replace(b"</head>", f"{ahead}\n</head>".encode())
    scripts = Path(bokehjs_path()) / "js"
    found |= {f"bokeh/{name}": (scripts / name).read_bytes() for name in _BOKEH}
    return {name: File(_TYPES[Path(name or "index.html").suffix], data) for name, data in found.items()}
