"""From tables to answers (paper, section 2): regions, damage with its errors, changes, paths, cracks of one particle.

Reads the tables of a store, and of its volumes windows at most; imports kernels and schema, never a step or the engine.
Begin at `damage`: a damage definition is registered there; `parameters` is the recipe's section [analyse]. Notebooks
call what is here as `crackdask.analyse` and `crackdask.cracks`.
"""
