"""When does each particle of an electrode crack, and when does it heal: operando tomography, block by block.

``crackdask.open(store)`` gives a finished store as an xarray DataTree, and :mod:`crackdask.analyse` reads its
tables. The functions :func:`denoise`, :func:`mask`, :func:`label`, :func:`transfer` and :func:`measure` are the run's
own kernels as lazy xarray, for notebooks.
"""

from __future__ import annotations

from importlib.metadata import version

from crackdask import analyse
from crackdask.denoise import denoise
from crackdask.labels import label
from crackdask.mask import mask
from crackdask.measure import measure
from crackdask.opening import open_store as open  # noqa: A004
from crackdask.transfer import transfer

__version__ = version("crackdask")
__all__ = ["analyse", "denoise", "label", "mask", "measure", "open", "transfer"]
