"""The method, a file for each step, from `reconstruct` and `read` to `measure` and `track`, and `levels` for viewers.

Sections 4.5 and 4.6 of the paper. A step holds its parameters, its passes over blocks, and why its result does not
depend on the blocks. It opens no store, starts no work, and knows neither dask nor xarray nor the other steps; what
several share lies beside them (`subblocks`, `watershed`, `histograms`). Each ends with what it declares of itself
(`declaration`), from which plans, fingerprints and tables follow; `registry` has them all. Begin at `denoise`. May
import blocks, sources and kernels.
"""
