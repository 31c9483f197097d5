"""What every nanny of the fault suite loads first, through dask's own `--preload-nanny`: it is no part of the package.

Its workers are copies of a process that has loaded what they need, as those of `--cluster local` are: one that is
killed is followed by another at once, and not after two seconds of loading.
"""

from __future__ import annotations

from typing import Any

from crackdask.cluster import local

#: The settings of a process that is to be such a nanny.
SETTINGS = {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": local.start_method()}


def dask_setup(nanny: Any) -> None:
    """Begin to load what workers need."""
    local._load_for_workers()
