"""What the user writes: the recipe (TOML), the site file of a cluster, and a first draft of a recipe.

Everything is checked before a voxel is read, with every complaint at once. May import the steps' parameters. Begin at
`recipe`; `batch_systems` holds what a recipe or a site may name as a cluster's batch system, one entry each.
"""
