"""A finished store in a notebook: an xarray DataTree, and windows of single particles."""

from __future__ import annotations

import numpy as np
import xarray as xr

from crackdask.kernels.depth_in_mask import square_weights
from crackdask.kernels.depth_in_particles import squared_depth
from crackdask.storage.locations import Place, place
from crackdask.store.checked import checked
from crackdask.store.metadata import check_metadata
from crackdask.store.root import StoreError, attributes, edited


def open_store(path: str | Place) -> xr.DataTree:
    """Open a store as a lazy xarray DataTree, with the groups of the store as its nodes.

    Parameters
    ----------
    path
        The store, ``NAME.zarr`` or ``s3://bucket/NAME.zarr``.

    Returns
    -------
    xarray.DataTree
        Nodes `volumes`, `particles`, `shells`, `histograms`, `contacts` and `transforms`, and `cracks` once they were
        measured; ``tree.crackdask`` adds :meth:`Particles.windows`.

    Raises
    ------
    StoreError
        If there is no store, one of a newer format, or one whose metadata was damaged or edited. What is read later
        raises `DamagedError`, which is one too, where a chunk is not what was written: it is lost, its checksum does
        not fit, or, as far as the work folder beside the store tells, it belongs elsewhere.
    """
    where = place(path)
    facts = attributes(where)
    own = check_metadata(where, complete=bool(facts.get("complete")))
    if reason := edited(where, facts):
        raise StoreError(f"{where}/zarr.json {reason}; `crackdask run RECIPE --store {where}` restores it")
    # Attributes may be added by anybody, and none of them may change a number: not `scale_factor`, nor `_FillValue`.
    tree = xr.open_datatree(
        checked(where, own=own),  # type: ignore[arg-type]
        engine="zarr",
        chunks={},
        mask_and_scale=False,
        decode_times=False,
    )
    tree.encoding.setdefault("source", str(where))
    return tree


@xr.register_datatree_accessor("crackdask")  # type: ignore[no-untyped-call]
class Particles:
    """What a crackdask store can do beyond a plain DataTree."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def windows(self, particle: int, state: str, margin: int = 2) -> xr.Dataset:
        """Cut one particle out of the store (paper, 4.6).

        Parameters
        ----------
        particle
            Its label.
        state
            Name of the state.
        margin
            Voxels around its bounding box.

        Returns
        -------
        xarray.Dataset
            `grey` (uint8), `inside` (bool, the particle's own voxels) and `depth_um` (distance to its own surface,
            0 outside; the image border is a surface) along (z, y, x), with coordinates in um.

        Raises
        ------
        KeyError
            If there is no such particle or state, or the particle is absent in that state.
        """
        table = self._tree["particles"].to_dataset()
        if state not in table.state.values:
            raise KeyError(f"no state {state!r}; there are {', '.join(map(str, table.state.values))}")
        if particle not in table.particle.values:
            raise KeyError(f"no particle {particle}; labels go from 1 to {table.sizes['particle']}")
        row = table.sel(state=state, particle=particle).load()
        if not int(row.voxels):
            raise KeyError(f"particle {particle} is absent in state {state!r}")
        volumes = self._tree["volumes"].to_dataset()
        place = {
            axis: slice(max(0, int(row[f"bbox_{axis}0"]) - margin), int(row[f"bbox_{axis}1"]) + margin)
            for axis in "zyx"
        }
        cut = volumes[["grey", "label"]].sel(state=state).isel(place).load()
        inside = cut.label == particle
        voxel_um = self._tree.attrs["recipe"]["experiment"]["voxel_um"]
        weights, unit = square_weights(tuple(voxel_um))
        alone = np.where(inside, cut.label, 0).astype(np.uint32)
        whole = (slice(0, alone.shape[0]), slice(0, alone.shape[1]), slice(0, alone.shape[2]))
        squared = squared_depth(alone, whole, ((True, True),) * 3, weights, unit, max(alone.shape))
        depth = np.sqrt(squared / unit) * min(voxel_um)
        window = xr.Dataset(
            {
                "grey": cut.grey,
                "inside": inside,
                "depth_um": (("z", "y", "x"), np.where(inside, depth, 0.0)),
            }
        )
        window.depth_um.attrs = {"units": "um", "long_name": "distance to the particle's own surface"}
        window.inside.attrs = {"units": "1", "long_name": "voxels of the particle"}
        return window
