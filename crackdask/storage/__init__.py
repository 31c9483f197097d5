"""Where bytes lie: a path on a disk or a prefix in object storage, flushed, whole or not at all, held by one run.

Knows nothing of tomography and imports nothing else of the package. Begin at `locations`: what the package does with a
path or a URL; `bucket` is a prefix in object storage, `zarr_bucket` zarr's view of it, `lease` a lock on it.
"""
