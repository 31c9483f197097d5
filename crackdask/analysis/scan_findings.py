"""What the voxels of a scan tell by themselves, before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from crackdask.analysis.findings import Finding

#: Share of a scan's voxels, piled up at its least or largest value, from which that is told: solid or void beyond is
#: lost, and of these it is two or three times as large a share.
PILED = 0.01


def of_copies(names: Sequence[str], digests: Sequence[str]) -> list[Finding]:
    """Return which states have the voxels of an earlier one, from what stands for the voxels of each.

    >>> [(each.state, each.text) for each in of_copies(["a", "b", "c"], ["x", "y", "x"])]
    [('c', 'every voxel as in a')]
    """
    first = {digest: name for name, digest in zip(reversed(names), reversed(digests), strict=True)}
    return [
        Finding("same-scan", name, 0.0, 0.0, f"every voxel as in {first[digest]}")
        for name, digest in zip(names, digests, strict=True)
        if first[digest] != name
    ]


def of_slices(state: str, odd: Sequence[int]) -> list[Finding]:
    """Return what is told of slices that hold nothing of their own.

    >>> [each.text for each in of_slices("4.2 V", [7, 8, 9, 30])]
    ['4 of them, numbers 7, 8, 9, ...']
    """
    if not odd:
        return []
    listed = ", ".join(str(z) for z in odd[:3]) + (", ..." if len(odd) > 3 else "")
    text = f"{len(odd)} of them, numbers {listed}" if len(odd) > 1 else f"number {listed}"
    return [Finding("odd-slices", state, float(len(odd)), 0.0, text)]


def of_ends(state: str, ends: Sequence[tuple[float, float]], *, exact: bool) -> list[Finding]:
    """Return what the least and the largest value of a scan tell: each with the share of voxels piled up there.

    Of real numbers, which are counted in bins, values are known to the width of one: then they are not `exact`.

    >>> [each.text for each in of_ends("a", [(0.0, 0.104), (38241.0, 0.0)], exact=False)]
    ['10.4% of the voxels are about 0, the least, limit 1.0%']
    """
    found = []
    for (value, share), word in zip(ends, ("least", "largest"), strict=True):
        if share > PILED:
            told = f"{value:g}" if exact else f"about {value:g}"
            text = f"{share:.1%} of the voxels are {told}, the {word}, limit {PILED:.1%}"
            found.append(Finding("cut-off", state, share, PILED, text))
    return found
