"""The weights of non-local means: from squared differences of patches to integers, in 16-bit words.

numba widens words to 64 bits before any arithmetic; the instructions built here stay at 16, 32 to a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crackdask.arrays import Bytes
from crackdask.kernels import compiling

Words = npt.NDArray[np.uint16]
Ones = tuple[int, ...]  # its length is known when numba compiles, so loops over it unroll

CUTOFF = 5  # weights are 0 from here on, in units of h**2
TOP = 4095  # largest weight: 15 of them (patch_distance 7) still add up in 16 bits
GREY = 255

compiled = compiling.compiled(error_model="numpy", boundscheck=False)


def _words(call: Callable[[Any, list[Any]], Any]) -> Any:
    """Return a numba function of two 16-bit words whose LLVM instructions `call` builds.

    numba widens words to 64 bits before any arithmetic; these stay at 16, 32 to a vector.
    """

    def made() -> Any:
        from numba import types
        from numba.extending import intrinsic

        def operation(typingctx: Any, left: Any, right: Any) -> Any:
            signature = types.uint16(types.uint16, types.uint16)
            return signature, lambda context, builder, signature, args: call(builder, list(args))

        return intrinsic(operation)

    return compiling.Late(made)


def _llvm(builder: Any, name: str, args: list[Any]) -> Any:
    """Call LLVM's own function `name` for 16-bit words."""
    from llvmlite import ir  # type: ignore[import-untyped]

    word = ir.IntType(16)
    kind = ir.FunctionType(word, [arg.type for arg in args])
    return builder.call(builder.module.declare_intrinsic(name, [word], kind), args)


def _mul_high(builder: Any, args: list[Any]) -> Any:
    """Build the upper 16 bits of a product."""
    from llvmlite import ir

    return _llvm(builder, "llvm.umul.fix", [*args, ir.IntType(32)(16)])


def _wide() -> Any:
    from numba import types
    from numba.extending import intrinsic

    def prefer(typingctx: Any) -> Any:
        def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # llvmlite knows by name only attributes without a value.
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
            return context.get_dummy_value()

        return types.none(), lower

    return intrinsic(prefer)


#: Called anywhere in a kernel, has LLVM fill the widest vectors that the processor has. By itself it takes vectors of
#: half that width on Intel's with AVX-512, whose clock once fell with wide ones; others are not touched by this.
wide_vectors = compiling.Late(_wide)

add_sat = _words(lambda builder, args: _llvm(builder, "llvm.uadd.sat", args))
sub_sat = _words(lambda builder, args: _llvm(builder, "llvm.usub.sat", args))
mul_high = _words(_mul_high)
shift_left = _words(lambda builder, args: builder.shl(*args))
shift_right = _words(lambda builder, args: builder.lshr(*args))


class Weighting(NamedTuple):
    """How a sum S of squared differences becomes an integer weight; `>>` rounds down.

    With v the number of voxels in a patch::

        S    = sum of (min(difference**2 + 2**k // 2, 65535) >> k), at most 65535
        t    = max(cut - max(S, floor), 0) << fine
        u    = (t * scale) >> 16
        f    = (((u * u) >> 16)**2) >> 16

    k (`coarse`) is 0, and S exact, while v (2 sigma**2 + 5 h**2) is below 65536; else squares are rounded to multiples
    of 2**k, far finer than h**2.
    """

    coarse: int
    half: int
    floor: int
    cut: int
    fine: int
    scale: int

    @classmethod
    def of(cls, patch_size: int, patch_distance: int, h: float, sigma: float) -> Weighting:
        """Return the weighting for the parameters of `nlm`.

        >>> Weighting.of(3, 5, h=10.0, sigma=10.0)
        Weighting(coarse=0, half=0, floor=5400, cut=18900, fine=2, scale=39764)
        """
        floor = patch_size**3 * (2.0 * sigma * sigma)
        cut = floor + patch_size**3 * (CUTOFF * h * h)
        coarse = max(0, ceil(cut).bit_length() - 16)
        if coarse > 15:
            raise ValueError(
                f"patch_size={patch_size} with h={h} and sigma={sigma} sums squares up to "
                f"{cut:.4g}, more than {2**31 - 1}: take a smaller patch, h or sigma"
            )
        high = min(ceil(cut / 2**coarse), 2**16 - 1)
        low = min(round(floor / 2**coarse), high - 1)
        fine = 16 - (high - low).bit_length()
        width = 2 * patch_distance + 1
        top = min(TOP, (2**16 - 1) // width, (2**32 - 1) // (GREY * width**3))
        scale = min((isqrt(isqrt(top << 48)) << 16) // (high - low << fine), 2**16 - 1)
        return cls(coarse, 2**coarse // 2, low, high, fine, scale)


@compiled
def weight_of(total: int, law: Weighting) -> int:
    """Return the weight of one sum of squared differences."""
    near = sub_sat(law.cut, max(np.uint16(total), law.floor))
    root = mul_high(shift_left(near, law.fine), law.scale)
    square = mul_high(root, root)
    return mul_high(square, square)


@compiled
def squared_differences(here: Bytes, there: Bytes, step: int, patch: Ones, law: Weighting, out: Words) -> None:
    """Add squared differences of `len(patch)` pairs that lie `step` voxels apart."""
    wide_vectors()
    for i in range(np.uint64(out.size)):
        total = np.uint16(0)
        for k in range(len(patch)):
            j = i + np.uint64(k) * np.uint64(step)
            gap = np.uint16(here[j]) - np.uint16(there[j])
            square = add_sat(np.uint16(gap * gap), law.half)
            total = add_sat(total, shift_right(square, law.coarse))
        out[i] = total


@compiled
def add_apart(values: Words, step: int, patch: Ones, out: Words) -> None:
    """Add `len(patch)` values that lie `step` voxels apart."""
    wide_vectors()
    for i in range(np.uint64(out.size)):
        total = values[i]
        for k in range(1, len(patch)):
            total = add_sat(total, values[i + np.uint64(k) * np.uint64(step)])
        out[i] = total


@compiled
def patch_weights(values: Words, patch: Ones, law: Weighting, out: Words) -> None:
    """Add `len(patch)` neighbours and turn each sum into its weight."""
    wide_vectors()
    for i in range(np.uint64(out.size)):
        total = values[i]
        for k in range(1, len(patch)):
            total = add_sat(total, values[i + np.uint64(k)])
        out[i] = weight_of(total, law)
