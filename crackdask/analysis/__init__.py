"""From tables to answers (paper, section 2): regions, damage with its errors, changes, paths, cracks of one particle.

Reads the tables of a store, and of its volumes windows at most; imports kernels and schema, never a step or the engine.
Begin at `damage`. A definition of damage is added in `damage_definitions`; `shells` says what the core is;
`parameters` is the recipe's section [analyse]. Notebooks call what is here as `crackdask.analyse` and
`crackdask.cracks`.

Words for grey, from voxel to figure: a *grey level* is a voxel's; `grey_sum` is the sum of those of some voxels, and
`grey_sumsq` of their squares; `mean_grey` is the sum over the number of voxels, of a region, and `layer_grey` of a
layer; `solid_grey` and `void_grey` are the grey levels of a particle's own solid and of a void. *Intensity* (RMPI) is
the paper's word for mean grey averaged over particles.
"""
