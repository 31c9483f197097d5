"""The paper's method (4.5, 4.6) written plainly with the libraries it names, one machine, everything in memory.

`python -m tests.benchmarks.seed_way RECIPE OUT.npz` processes the scans of a recipe and writes labels, matrices and
the peak memory. The peer of the whole run; two cores are allowed: ITK uses two threads, two states go at once.
"""

from __future__ import annotations

import resource
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import edt
import numpy as np
import SimpleITK
import tifffile
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import regionprops_table
from skimage.morphology import remove_small_holes, remove_small_objects
from skimage.restoration import denoise_nl_means
from skimage.segmentation import watershed

Array = np.ndarray[Any, np.dtype[Any]]
CORES = 2


def scans(recipe: Path) -> Iterator[Array]:
    """Read one state after the other."""
    for state in tomllib.loads(recipe.read_text())["states"]:
        slices = sorted((recipe.parent / state["source"]).glob("*.tif"))
        yield np.stack([tifffile.imread(path) for path in slices])


def registered(fixed: Array, moving: Array) -> tuple[Array, Array]:
    """Register one state to the reference and resample it; return it and its matrix."""
    reference, other = (SimpleITK.Cast(SimpleITK.GetImageFromArray(v), SimpleITK.sitkFloat32) for v in (fixed, moving))
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(CORES)
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, 1)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    start = SimpleITK.CenteredTransformInitializer(
        reference, other, SimpleITK.Euler3DTransform(), SimpleITK.CenteredTransformInitializerFilter.GEOMETRY
    )
    method.SetInitialTransform(start, inPlace=False)
    found = method.Execute(reference, other)
    resampled = SimpleITK.Resample(other, reference, found, SimpleITK.sitkLinear, 0.0)
    origin = np.array(found.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.array(found.TransformPoint(tuple(np.eye(3)[i]))) - origin for i in range(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(axes).T[::-1, ::-1]
    matrix[:3, 3] = origin[::-1]
    return SimpleITK.GetArrayFromImage(resampled), matrix


def denoised(grey: Array) -> Array:
    """Smooth one state."""
    unit = grey.astype(np.float32) / 255
    noise = float(np.median(np.abs(np.diff(unit, axis=2)))) / (0.6745 * 2**0.5)
    smooth = denoise_nl_means(unit, patch_size=3, patch_distance=5, h=0.8 * noise, sigma=noise, fast_mode=True)
    return np.asarray((smooth * 255).astype(np.uint8))


def segmented(smooth: Array, threshold: float) -> Array:
    """Part particles from background."""
    mask = smooth > threshold
    ball = ndimage.generate_binary_structure(3, 1)
    mask = ndimage.binary_closing(ndimage.binary_opening(mask, ball), ball)
    mask = remove_small_objects(mask, max_size=49, connectivity=3)
    return np.asarray(remove_small_holes(mask, max_size=5000))


def labelled(mask: Array, previous: Array | None) -> Array:
    """Flood the smoothed distance from peaks, or from the cores of the state before."""
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    if previous is None:
        peaks = peak_local_max(distance, min_distance=4, labels=mask.astype(np.uint8), exclude_border=False)
        markers = np.zeros(mask.shape, np.int32)
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    else:
        depth = edt.edt(previous.astype(np.uint32), parallel=CORES)
        deepest = np.append(0, ndimage.maximum(depth, previous, np.arange(1, previous.max() + 1)))
        markers = np.where((depth > deepest[previous] / 2) & mask, previous, 0)
    return np.asarray(watershed(-distance, markers, mask=mask))


def measured(grey: Array, label: Array) -> dict[str, Array]:
    """Measure every particle, and its grey level shell by shell (GRAPES's radial layers)."""
    names = ("label", "area", "centroid", "bbox", "intensity_mean", "intensity_min", "intensity_max")
    table = regionprops_table(label, grey, properties=names)
    shell = np.round(edt.edt(label.astype(np.uint32), black_border=True, parallel=CORES)).astype(np.int64)
    width = int(shell.max()) + 1
    where = (label.astype(np.int64) * width + shell).ravel()
    size = (int(label.max()) + 1) * width
    table["shell_voxels"] = np.bincount(where, minlength=size)
    table["shell_grey"] = np.bincount(where, weights=grey.ravel(), minlength=size)
    return table


def run(recipe: Path) -> tuple[list[Array], list[Array], list[dict[str, Array]]]:
    """Process all states; return labels, matrices and tables."""
    reference, matrices, raw = None, [], []
    for scan in scans(recipe):
        if reference is None:
            reference, moved, matrix = scan, scan.astype(np.float32), np.eye(4)
        else:
            moved, matrix = registered(reference, scan)
        raw.append(moved)
        matrices.append(matrix)
    low, high = np.percentile(raw[0], [0.1, 99.9])
    grey = [((v - low) / (high - low) * 255).clip(0, 255).astype(np.uint8) for v in raw]
    del raw
    with ProcessPoolExecutor(CORES) as pool:
        smooth = list(pool.map(denoised, grey))
    threshold = threshold_otsu(smooth[0])
    labels: list[Array] = []
    tables = []
    for one, clean in zip(grey, smooth, strict=True):
        labels.append(labelled(segmented(clean, threshold), labels[-1] if labels else None))
        tables.append(measured(one, labels[-1]))
    return labels, matrices, tables


def main() -> None:
    """Run on a recipe and write what was found."""
    labels, matrices, _ = run(Path(sys.argv[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    np.savez(sys.argv[2], labels=np.array(labels), matrices=np.array(matrices), peak=np.array(peak))


if __name__ == "__main__":
    main()
