"""The hot path's loops in C, where they could be compiled; the same loops in NumPy stand beside each use.

The C code needs nothing but gcc or clang and is built with the package, once, for any Python from 3.11 on. Where that
was not possible, or where the environment says ECG_EDGE_NATIVE=0, everything works as well, only slower.

Front end and filters give the same bits either way: their sums are exact. Where leads are joined and shapes compared,
sums are rounded, in an order that NumPy leaves to its matrix library, so that the last bits may differ, as they do
between two processors; the strength that beats are found in is then rounded to steps much larger than that.

What makes such loops fast after a model has run is a small footprint and no branch that the signal decides, not the
number of operations: a table that is read here and there, or one comparison a sample, costs more than all the rest.
"""

import os
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._kernels import Resampler, Spectrum, Transform

    __all__ = ["Resampler", "Spectrum", "Transform", "kernels"]

VARIABLE = "ECG_EDGE_NATIVE"  # of the environment; 0 leaves the compiled loops out
VERSION = 1  # of what is called here; an object left behind by another version is not used


def _load() -> ModuleType | None:
    if os.environ.get(VARIABLE) == "0":
        return None
    try:
        from . import _kernels
    except ImportError:
        return None
    return _kernels if _kernels.VERSION == VERSION else None


kernels = _load()
"""The compiled module, None for NumPy. Whoever uses it asks when an object is made, and goes by it from then on."""
