"""When does each particle of an electrode crack, and when does it heal: operando tomography, block by block.

``crackdask.open(store)`` gives a finished store as an xarray DataTree, and :mod:`crackdask.analyse` reads its
tables. The functions :func:`reconstruct`, :func:`denoise`, :func:`mask`, :func:`label`, :func:`transfer` and
:func:`measure` are the run's own kernels as lazy xarray, for notebooks.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crackdask import analyse
    from crackdask.lazy import denoise, label, mask, measure, transfer
    from crackdask.lazy_projections import reconstruct
    from crackdask.store.open import open_store as open  # noqa: A004

__version__ = version("crackdask")
__all__ = ["analyse", "denoise", "label", "mask", "measure", "open", "reconstruct", "transfer"]

#: Where what is offered lies. It is loaded when asked for: every command, down to --help, and every worker begins here.
_OFFERED = dict.fromkeys(("denoise", "label", "mask", "measure", "transfer"), "crackdask.lazy") | {
    "open": "crackdask.store.open:open_store",
    "reconstruct": "crackdask.lazy_projections",
}


def __getattr__(name: str) -> Any:
    if name == "analyse":
        return import_module("crackdask.analyse")
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, function = _OFFERED[name].partition(":")
    return getattr(import_module(module), function or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if os.environ.get("EAGER_IMPORT"):  # as scientific Python packages do; the API reference is built so
    globals().update({name: __getattr__(name) for name in __all__})
