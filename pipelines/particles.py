"""From a finished store to the particles one wants: a notebook (open it in VS Code, or in Jupyter with jupytext)."""

# %% [markdown]
# # Selecting particles
#
# A finished store is plain xarray: a row for each particle and state, under the same label in every state. Set
# `CRACKDASK_STORE` to the path of yours, or change it below; `crackdask demo` makes one to play with.

# %%
import os

import matplotlib.pyplot as plt

import crackdask
from crackdask import analyse, figures

tree = crackdask.open(os.environ.get("CRACKDASK_STORE", "crackdask-demo/demo.zarr"))
tree

# %% [markdown]
# Everything is lazy, so opening costs nothing, whatever the size. The table of particles is small enough to load.

# %%
particles = tree["particles"].to_dataset().load()
first, last = (str(particles.state.values[k]) for k in (0, -1))
particles.grey_mean

# %% [markdown]
# ## By query
#
# `where` keeps the rows for which something holds, `sel` takes states and labels by name. Those that are tracked are
# whole in every state; conditions are put together with `&` and `|`.

# %%
tracked = particles.where(particles.tracked, drop=True)
radius_um = particles.equivalent_diameter_um.sel(state=first) / 2
large = particles.tracked & (radius_um > radius_um.where(particles.tracked.sel(state=first)).median())
round_and_large = particles.where(large & (particles.sphericity.sel(state=first) > 0.8), drop=True)
print(f"{particles.sizes['particle']} particles, {tracked.sizes['particle']} tracked")
print(f"{round_and_large.sizes['particle']} of these are round and larger than half of them")

# %% [markdown]
# The same question to pandas, for whoever prefers it: a row for each particle and state.

# %%
frame = particles.to_dataframe().reset_index()
frame.query("tracked and sphericity > 0.8 and state == @first").nlargest(5, "volume_um3")[
    ["particle", "equivalent_diameter_um", "sphericity", "grey_mean", "n_contacts"]
]

# %% [markdown]
# ## In a picture
#
# Sizes, and how the mean grey level of each particle differs from its own at first.

# %%
change = tracked.grey_mean - tracked.grey_mean.sel(state=first)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.hist(tracked.equivalent_diameter_um.sel(state=first), bins=30)
left.set(xlabel="equivalent diameter (um)", ylabel="particles")
change.quantile([0.25, 0.5, 0.75], "particle").T.to_pandas().plot(ax=right, style="o-", rot=20)
right.set(ylabel="change of grey level")

# %% [markdown]
# `crackdask.analyse` has the paper's averages, with errors, by size or by any column; `crackdask.figures` its figures.

# %%
by_contacts = analyse.rmpi(tree, by="n_contacts").sel(region="core")
by_contacts["mean"].to_pandas().round(2)

# %%
figures.relative_intensity(tree)

# %% [markdown]
# ## One particle
#
# The one of the selection that lost most. A window cuts it out of the volumes: its grey levels, which voxels are its
# own, and how deep each of them lies.

# %%
one = int(change.sel(state=last, particle=round_and_large.particle).idxmin("particle"))
window = tree.crackdask.windows(particle=one, state=last)
middle = window.isel(z=window.sizes["z"] // 2)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
middle.grey.plot.imshow(ax=left, cmap="gray", cbar_kwargs={"label": "grey level"})
middle.depth_um.where(middle.inside).plot.imshow(ax=right, cbar_kwargs={"label": "depth (um)"})
left.set(title="", xlabel="x (um)", ylabel="y (um)")
right.set(title="", xlabel="x (um)", ylabel="")
figure.suptitle(f"particle {one}, {last}")

# %% [markdown]
# Grey level against depth, from the same window: how the particle looks from its surface to its centre.

# %%
depth = window.depth_um.where(window.inside).round()
window.grey.groupby(depth.rename("depth_um")).mean().to_series().round(1)

# %% [markdown]
# ## To other tools
#
# `crackdask export STORE` writes every table; from here a selection goes the same way.

# %%
selection = round_and_large.to_dataframe().reset_index()
selection.to_csv("selection.csv", index=False)
len(selection)
