"""What to type, or to follow, to look at a store in other programs: napari and Neuroglancer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crackdask.engine.soundness import has_levels
from crackdask.storage.locations import Place, Prefix

_NEUROGLANCER = "https://neuroglancer-demo.appspot.com/#!"
#: Where Neuroglancer, which reads no disk, is to find the folder of a store.
_SERVED = "http://127.0.0.1:8000"
#: What Neuroglancer reads of object storage.
_KNOWN = ("s3", "gs")


def viewer_lines(store: Place, facts: Mapping[str, Any]) -> list[str]:
    """Return lines that tell how to look at a store, from its root attributes; none before it has levels for that."""
    if not has_levels(facts):
        return []
    lines = ["to look at it elsewhere:", f"  napari --plugin napari-ome-zarr {shlex.quote(str(store))}"]
    if isinstance(store, Prefix):
        if store.bucket.partition(":")[0] in _KNOWN:
            lines.append(f"  {neuroglancer_link(str(store), facts)}")
        return lines
    home = store.resolve()
    lines.append(f"  {neuroglancer_link(f'{_SERVED}/{quote(home.name)}', facts)}")
    lines.append(f"  (while the folder is served, as by `{_server(home.parent)}`)")
    return lines


def _server(folder: Path) -> str:
    return f"npx http-server {shlex.quote(str(folder))} -a 127.0.0.1 -p 8000 --cors"


def neuroglancer_link(source: str, facts: Mapping[str, Any]) -> str:
    """Return a link that shows grey levels and labels of a store in Neuroglancer.

    Parameters
    ----------
    source
        The store's address, as Neuroglancer reads it.
    facts
        Its root attributes.
    """
    return _NEUROGLANCER + quote(json.dumps(neuroglancer_state(source, facts), separators=(",", ":")), safe=":,/")


def neuroglancer_state(source: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Neuroglancer is to show: the middle of the first state, space before states."""
    shape, edges = facts["identity"]["shape"], facts["identity"]["voxel_um"]
    metres = {axis: [edge * 1e-6, "m"] for axis, edge in zip("xyz", reversed(edges), strict=True)}
    layers = [
        {"type": "image", "name": "grey", "source": f"{source}/|zarr3:"},
        {
            "type": "segmentation",
            "name": "particle",
            "source": f"{source}/labels/particle/|zarr3:",
            "selectedAlpha": 0.4,
        },
    ]
    return {
        "dimensions": {**metres, "state": [1, ""]},
        "position": [*(n / 2 for n in reversed(shape)), 0.5],
        "layers": layers,
        "layout": "4panel",
    }
