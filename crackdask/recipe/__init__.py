"""What the user writes: the recipe (TOML), the site file of a cluster, and a first draft of a recipe.

Everything is checked before a voxel is read, with every complaint at once. May import the steps' parameters. Begin at
`recipe`; `crackdask.batch_systems` has what a recipe or a site may name as a batch system.
"""
