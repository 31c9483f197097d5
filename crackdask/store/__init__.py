"""The Zarr store, a contract with other people's notebooks: groups, volumes, attributes, and how it is opened.

Begin at `create` (what a new store consists of) and `volumes` (voxels read and written box by box); `open` gives a
notebook its DataTree. Names, dtypes and units are in `crackdask.schema`. May import storage and grid.
"""
