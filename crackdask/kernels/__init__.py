"""One block: numpy in, numpy out. The only users of numba and SimpleITK.

A kernel knows neither files nor graphs nor the recipe; it may import the arithmetic of `crackdask.grid`. Begin at `nlm`
(denoising), `watershed` (basins of one block) or `tally` (what is counted of a particle); `hash_table`, `union_find`
and `otsu` are there for all.
"""
