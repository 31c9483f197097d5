"""Where bytes lie: a path on a disk or a prefix in object storage, flushed, whole or not at all, held by one run.

Knows nothing of tomography and imports of the package no more than names of array types. Begin at `locations`: what the
package does with a path or a URL; `bucket` is a prefix in object storage, `service` speaks to what keeps it,
`zarr_bucket` is zarr's view of it, `lease` a lock on it.
"""
