"""One list of passes, two ways to run it: work on blocks, whatever runs it.

A pass is a kernel, its halo, and the reduction that ends it (`passes`, which knows no dask). `in_memory` runs passes on
arrays, `dask_graph` as a lazy overlap-aware graph, the engine from store to store; `xarrays` checks and makes the
xarray volumes of the lazy functions. Begin at `passes`. May import kernels, storage and grid.
"""
