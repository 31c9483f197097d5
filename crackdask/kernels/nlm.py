"""Non-local means of one padded block of 8-bit voxels."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Grey = npt.NDArray[np.uint8]

TILE = (32, 32, 128)
CUTOFF = 5.0
POWER_MAX = 65535


def _saturating(name: str) -> Any:
    """Return LLVM's saturating 16-bit operation `name` as a numba function."""

    @intrinsic
    def operation(typingctx: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = ir.IntType(16)
            kind = ir.FunctionType(word, [word, word])
            function = builder.module.declare_intrinsic(f"llvm.{name}", [word], kind)
            return builder.call(function, args)

        return types.uint16(types.uint16, types.uint16), codegen

    return operation


add_sat = _saturating("uadd.sat")
sub_sat = _saturating("usub.sat")


@intrinsic
def mul_high(typingctx: Any, a: Any, b: Any) -> Any:
    """Return the upper 16 bits of the product of two 16-bit words."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, count = ir.IntType(16), ir.IntType(32)
        kind = ir.FunctionType(word, [word, word, count])
        function = builder.module.declare_intrinsic("llvm.umul.fix", [word], kind)
        return builder.call(function, [*args, count(16)])

    return types.uint16(types.uint16, types.uint16), codegen


@intrinsic
def shift_right(typingctx: Any, a: Any, b: Any) -> Any:
    """Return a 16-bit word shifted right."""
    return types.uint16(types.uint16, types.uint16), lambda c, builder, s, args: builder.lshr(*args)


@intrinsic
def shift_left(typingctx: Any, a: Any, b: Any) -> Any:
    """Return a 16-bit word shifted left."""
    return types.uint16(types.uint16, types.uint16), lambda c, builder, s, args: builder.shl(*args)


@dataclass(frozen=True)
class Weights:
    """The weight of a sum of squared differences, as integers of 16 bits.

    Squares are counted in units of `2**coarse`; `floor` and `cut` are sums in those units.
    """

    coarse: int
    floor: int
    cut: int
    fine: int
    scale: int

    @classmethod
    def of(cls, voxels: int, shifts: int, h: float, sigma: float) -> Weights:
        """Return the weights of a patch of `voxels` voxels, for so many `shifts`."""
        floor, cut = voxels * 2 * sigma**2, voxels * (2 * sigma**2 + CUTOFF * h**2)
        coarse = max(0, ceil(cut).bit_length() - 16)
        unit = 1 << coarse
        low = round(floor / unit)
        high = min(max(ceil(cut / unit), low + 1), 65535)
        low = min(low, high - 1)
        fine = 16 - (high - low).bit_length()
        top = min(4095, ((1 << 32) - 1) // (255 * shifts))
        root = int((top / 65536) ** 0.25 * 65536)
        return cls(coarse, low, high, fine, min(65535, (root << 16) // ((high - low) << fine)))


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _weight(total, floor, cut, fine, scale):  # type: ignore[no-untyped-def]
    """Return the integer weight of one sum of squared differences."""
    near = sub_sat(cut, max(total, floor))
    root = mul_high(shift_left(near, fine), scale)
    square = mul_high(root, root)
    return mul_high(square, square)


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _box_z(here, there, plane, patch, coarse, half, out):  # type: ignore[no-untyped-def]
    """Add the squared differences of `len(patch)` planes that lie `plane` voxels apart."""
    for i in range(np.uint64(out.size)):
        total = np.uint16(0)
        for k in range(len(patch)):
            j = i + np.uint64(k) * np.uint64(plane)
            gap = np.uint16(here[j]) - np.uint16(there[j])
            total = add_sat(total, shift_right(add_sat(np.uint16(gap * gap), half), coarse))
        out[i] = total


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _box(values, step, patch, out):  # type: ignore[no-untyped-def]
    """Add `len(patch)` values that lie `step` voxels apart."""
    for i in range(np.uint64(out.size)):
        total = values[i]
        for k in range(1, len(patch)):
            total = add_sat(total, values[i + np.uint64(k) * np.uint64(step)])
        out[i] = total


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _box_weight(values, patch, floor, cut, fine, scale, out):  # type: ignore[no-untyped-def]
    """Add neighbours along x and turn the sums into weights."""
    for i in range(np.uint64(out.size)):
        total = values[i]
        for k in range(1, len(patch)):
            total = add_sat(total, values[i + np.uint64(k)])
        out[i] = _weight(total, floor, cut, fine, scale)


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _tally(weights, grey, sums, norms):  # type: ignore[no-untyped-def]
    """Add weighted grey values and weights to the running sums."""
    for i in range(np.uint64(weights.size)):
        weight = np.uint32(weights[i])
        sums[i] += np.uint32(weight * np.uint32(grey[i]))
        norms[i] += weight


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _tile(grey, size, d, patch, coarse, half, floor, cut, fine, scale, work, sums, norms):  # type: ignore[no-untyped-def]
    """Fill `sums` and `norms` of one tile; `grey` is the tile with its margin, flat."""
    nz, ny, nx = size
    r = len(patch) // 2
    m = d + r
    pitch = nx + 2 * m
    plane = pitch * (ny + 2 * m)
    rows, cols, weights = work[0], work[1], work[2]
    top = _weight(floor, floor, cut, fine, scale)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                o = (z * ny + y) * pitch + x
                sums[o] = np.uint32(top) * np.uint32(
                    grey[(z + m) * plane + (y + m) * pitch + x + m]
                )
                norms[o] = top
    for dz in range(d + 1):
        for dy in range(0 if dz == 0 else -d, d + 1):
            for dx in range(1 if dz == 0 and dy == 0 else -d, d + 1):
                left, right = max(dx, 0), max(-dx, 0)
                far = dz * plane + dy * pitch + dx
                for z in range(-dz, nz):
                    is_here = z >= 0
                    is_there = z + dz < nz
                    lo = min(0 if is_here else ny, -dy if is_there else ny)
                    hi = max(ny if is_here else -d, ny - dy if is_there else -d)
                    count = (hi - lo - 1) * pitch + nx + left + right
                    wide = count + 2 * r
                    tall = wide + 2 * r * pitch
                    a = (z + m - r) * plane + (lo + m - r) * pitch + m - left - r
                    _box_z(
                        grey[a:], grey[a + far :], plane, patch, coarse, half, rows[:tall]
                    )
                    _box(rows, pitch, patch, cols[:wide])
                    _box_weight(cols, patch, floor, cut, fine, scale, weights[:count])
                    span = (ny - 1) * pitch + nx
                    if is_here:
                        w = -lo * pitch + left
                        o = z * ny * pitch
                        b = (z + m) * plane + m * pitch + m + far
                        _tally(
                            weights[w : w + span], grey[b:], sums[o:], norms[o:]
                        )
                    if is_there:
                        w = (-dy - lo) * pitch + left - dx
                        o = (z + dz) * ny * pitch
                        b = (z + dz + m) * plane + m * pitch + m - far
                        _tally(
                            weights[w : w + span], grey[b:], sums[o:], norms[o:]
                        )


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def _volume(padded, d, patch, coarse, half, floor, cut, fine, scale, tile, out):  # type: ignore[no-untyped-def]
    """Denoise the core of `padded` tile by tile."""
    m = d + len(patch) // 2
    tz, ty, tx = tile
    pitch = tx + 2 * m
    plane = (ty + 2 * m) * pitch
    grey = np.empty((tz + 2 * m) * plane, np.uint8)
    work = np.empty((3, plane), np.uint16)
    sums = np.empty(tz * ty * pitch, np.uint32)
    norms = np.empty(tz * ty * pitch, np.uint32)
    for z0 in range(0, out.shape[0], tz):
        nz = min(tz, out.shape[0] - z0)
        for y0 in range(0, out.shape[1], ty):
            ny = min(ty, out.shape[1] - y0)
            for x0 in range(0, out.shape[2], tx):
                nx = min(tx, out.shape[2] - x0)
                pitch = nx + 2 * m
                o = 0
                for z in range(nz + 2 * m):
                    for y in range(ny + 2 * m):
                        grey[o : o + pitch] = padded[z0 + z, y0 + y, x0 : x0 + pitch]
                        o += pitch
                _tile(
                    grey, (nz, ny, nx), d, patch, coarse, half, floor, cut, fine, scale,
                    work, sums, norms,
                )  # fmt: skip
                for z in range(nz):
                    for y in range(ny):
                        for x in range(nx):
                            o = (z * ny + y) * pitch + x
                            n = np.int64(norms[o])
                            out[z0 + z, y0 + y, x0 + x] = (2 * np.int64(sums[o]) + n) // (2 * n)


def margin(patch_size: int, patch_distance: int) -> int:
    """Return the voxels that `nlm` needs around its core.

    >>> margin(3, 5)
    6
    """
    return patch_distance + patch_size // 2


def nlm(
    padded: Grey,
    *,
    patch_size: int = 3,
    patch_distance: int = 5,
    h: float,
    sigma: float = 0.0,
) -> Grey:
    """Return the core of a padded block denoised by non-local means."""
    m = margin(patch_size, patch_distance)
    shape = tuple(n - 2 * m for n in padded.shape)
    out = np.empty(shape, np.uint8)
    w = Weights.of(patch_size**3, (2 * patch_distance + 1) ** 3, h, sigma)
    half = (1 << w.coarse) >> 1
    word = np.uint16
    _volume(
        np.ascontiguousarray(padded),
        patch_distance,
        (0,) * patch_size,
        word(w.coarse), word(half), word(w.floor), word(w.cut), word(w.fine), word(w.scale),
        tuple(min(t, n) for t, n in zip(TILE, shape, strict=True)),
        out,
    )  # fmt: skip
    return out
