"""Tables of particles with programmed cracks, and what scans add to them."""

from __future__ import annotations

import numpy as np

from crackdask.phantom import FIVE_STATES
from tests.support.tabled import balls, replaced, tables

VOID = 60.0  # the background of `tables`


def cracked(void, radii, chosen=FIVE_STATES, **more):
    """Return balls with a void fraction inside their rims, (state, particle), small ones dimmer than large ones."""
    voxels = balls(radii, len(chosen))
    deepest = np.floor(radii)[None, :, None]
    core = 3 * np.arange(1, voxels.shape[2] + 1) > deepest
    solid = (170 - 60 * np.exp(-np.asarray(radii) / 7))[None, :, None]
    grey = np.where(core, solid + np.asarray(void)[..., None] * (VOID - solid), solid + 20)
    return tables(voxels, grey, chosen, **more)


def moved(tree, shift):
    """Return a store whose grey levels are shifted, (state, particle)."""
    shells = tree["shells"].to_dataset().copy(deep=True)
    added = shells.voxels.values * shift[..., None]
    shells["grey_sum"] = shells.grey_sum.copy(data=(shells.grey_sum + added.round()).values.astype(np.uint64))
    return replaced(tree, shells=shells)
