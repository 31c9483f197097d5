"""Own definitions of damage, compared, and one particle's cracks: a notebook (VS Code, or Jupyter with jupytext)."""

# %% [markdown]
# # A damage factor of one's own
#
# A damage factor is a function from what is known of the particles to a number for each of them in each state. Set
# `CRACKDASK_STORE` to the path of your store, or change it below.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import crackdask
from crackdask import analyse
from crackdask.cracks import cracks_of
from crackdask.export import paint

store = os.environ.get("CRACKDASK_STORE", "crackdask-demo/demo.zarr")
tree = crackdask.open(store)
analyse.evidence(tree)

# %% [markdown]
# ## Two more definitions
#
# The core against the whole particle, which needs no other state; and the whole particle's loss of grey level. A
# standard error may come with it, or not.


# %%
@analyse.define_damage("core_contrast", "1", "how much darker the core is than the whole particle, as a share")
def core_contrast(table):
    core, full = (table.mean_grey.sel(region=name, drop=True) for name in ("core", "full"))
    return (full - core) / full


@analyse.define_damage("whole_darkening", "1", "grey levels that the whole particle lost since the reference state")
def whole_darkening(table):
    full = table.mean_grey.sel(region="full", drop=True)
    return full.sel(state=table.attrs["reference"], drop=True) - full


names = ["excess_void", "core_darkening", "core_contrast", "whole_darkening"]
found = {name: analyse.damage(tree, damage=name) for name in names}

# %% [markdown]
# ## Compared
#
# Do they agree on which particles are damaged? Ranks, since the units differ; and what share each of them calls more
# damaged than in the state before.

# %%
ranks = pd.DataFrame({name: one.damage.values.ravel() for name, one in found.items()}).rank()
ranks.corr().round(2)

# %%
worse = {name: (analyse.changes(one).change > 0).mean("particle").to_series() for name, one in found.items()}
pd.DataFrame(worse).round(2)

# %% [markdown]
# A good factor does not know how large a particle is before anything happened to it. Blur and phase contrast
# change the rim, which is more of a small particle than of a large one: what compares core and rim must allow for it.

# %%
radius = found["excess_void"].radius_um
with_radius = {
    name: float(np.corrcoef(radius, one.damage[0])[0, 1]) for name, one in found.items() if one.damage[0].std()
}
pd.Series(with_radius, name="correlation with radius, first state").round(2)

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.3), layout="constrained", sharex=True)
for axis, name in zip(axes, names[1:], strict=True):
    axis.plot(found["excess_void"].damage[-1], found[name].damage[-1], ".", markersize=3)
    axis.set(xlabel="excess_void", ylabel=name)
figure.suptitle(f"the last state, {found['excess_void'].state.values[-1]}")

# %% [markdown]
# All else that the analysis offers takes the new factor too: classes, paths, significance.

# %%
states = tree["particles"].state.values.tolist()
analyse.ranking(analyse.paths(found["core_contrast"], states=states)).to_dataframe()

# %% [markdown]
# And it can be painted into the volume, as an OME-Zarr image for napari and its like.

# %%
paint(store, found["core_contrast"].damage.rename("core_contrast"), folder="painted")

# %% [markdown]
# ## One particle through the states
#
# The particle of most damage in any state, in the slice through its middle.

# %%
damage = found["excess_void"].damage
one = int(damage.max("state").idxmax("particle"))
windows = {state: tree.crackdask.windows(particle=one, state=state) for state in states}
figure, axes = plt.subplots(1, len(states), figsize=(2.4 * len(states), 2.8), layout="constrained", squeeze=False)
for axis, (state, window) in zip(axes[0], windows.items(), strict=True):
    axis.imshow(window.grey.isel(z=window.sizes["z"] // 2), cmap="gray", vmin=0, vmax=255)
    axis.set_title(f"{state}\n{float(damage.sel(state=state, particle=one)):.3f}", fontsize=9)
    axis.set_axis_off()
figure.suptitle(f"particle {one}, and its damage")

# %% [markdown]
# ## Its cracks
#
# Crack voxels are those of the core that are dark against the particle's own solid. Here from above, how many of them
# lie on each other; and how much they are, by counting and by partial volume, and how long and thick.

# %%
cracks = {state: cracks_of(tree, particle=one, state=state) for state in states}
figure, axes = plt.subplots(1, len(states), figsize=(2.4 * len(states), 2.8), layout="constrained", squeeze=False)
for axis, (state, here) in zip(axes[0], cracks.items(), strict=True):
    axis.imshow(here.crack.sum("z").where(here.inside.any("z")), vmin=0)
    axis.set_title(f"{state}\n{here.attrs['crack_volume_um3']:.1f} um3", fontsize=9)
    axis.set_axis_off()
figure.suptitle(f"crack voxels of particle {one}")

# %%
columns = ["crack_volume_um3", "crack_volume_partial_um3", "skeleton_length_um", "thickness_mean_um"]
pd.DataFrame({state: [one_of.attrs[name] for name in columns] for state, one_of in cracks.items()}, columns).round(2)
