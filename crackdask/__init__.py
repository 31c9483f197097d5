"""When does each particle of an electrode crack, and when does it heal: operando tomography, block by block.

``crackdask.open(store)`` gives a finished store as an xarray DataTree, and :mod:`crackdask.analyse` reads its
tables. The functions :func:`denoise`, :func:`mask`, :func:`label`, :func:`transfer` and :func:`measure` are the run's
own kernels as lazy xarray, for notebooks.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crackdask import analyse
    from crackdask.denoise import denoise
    from crackdask.labels import label
    from crackdask.mask import mask
    from crackdask.measure import measure
    from crackdask.opening import open_store as open  # noqa: A004
    from crackdask.transfer import transfer

__version__ = version("crackdask")
__all__ = ["analyse", "denoise", "label", "mask", "measure", "open", "transfer"]

#: Where what is offered lies. It is loaded when asked for: every command, down to --help, and every worker begins here.
_OFFERED = {
    "analyse": ("crackdask.analyse", None),
    "denoise": ("crackdask.denoise", "denoise"),
    "label": ("crackdask.labels", "label"),
    "mask": ("crackdask.mask", "mask"),
    "measure": ("crackdask.measure", "measure"),
    "open": ("crackdask.opening", "open_store"),
    "transfer": ("crackdask.transfer", "transfer"),
}


class _Package(ModuleType):
    """A package whose functions stand for the modules that they are named after, loaded or not."""

    def __getattr__(self, name: str) -> Any:
        if name not in _OFFERED:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, function = _OFFERED[name]
        return getattr(import_module(module), function) if function else import_module(module)

    def __setattr__(self, name: str, value: object) -> None:
        if not isinstance(value, ModuleType) or _OFFERED.get(name, ("", None))[1] is None:  # an import sets its module
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_OFFERED})


sys.modules[__name__].__class__ = _Package
