"""Registration of two small volumes with SimpleITK.

Matrices here act on physical positions (z, y, x, 1) in units of the finest voxel's edges times
`spacing`; the caller turns them into voxel indices. ITK runs on one thread with a fixed seed, for
its sums are split by threads and its samples are drawn at random (SimpleITK/SimpleITK#1429).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crackdask.lazy_import import Later

Matrix = NDArray[np.float64]
Lengths = tuple[float, float, float]

sitk: Any = Later("SimpleITK")  # which every command would wait for; it has no types

FLIP = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], np.float64)  # (z, y, x) to (x, y, z)


@dataclass(frozen=True)
class Picture:
    """A volume with its place in space, all along (z, y, x).

    `valid`, where given, is true for the voxels that count.
    """

    grey: NDArray[Any]
    spacing: Lengths
    origin: Lengths
    valid: NDArray[np.bool_] | None = None

    def image(self) -> Any:
        """Return the ITK image, float32."""
        return self._place(sitk.GetImageFromArray(np.ascontiguousarray(self.grey, np.float32)))

    def mask(self) -> Any | None:
        """Return the ITK mask, or None where every voxel counts."""
        if self.valid is None or self.valid.all():
            return None
        return self._place(sitk.GetImageFromArray(np.ascontiguousarray(self.valid, np.uint8)))

    def _place(self, image: Any) -> Any:
        image.SetSpacing(self.spacing[::-1])
        image.SetOrigin(self.origin[::-1])
        return image


def _transform(matrix: Matrix, centre: NDArray[np.float64]) -> Any:
    """Return a rigid transform of ITK that does what the matrix does, turning about `centre`."""
    linear, shift = FLIP @ matrix[:3, :3] @ FLIP, FLIP @ matrix[:3, 3]
    pivot = FLIP @ centre
    transform = sitk.Euler3DTransform()
    transform.SetCenter(pivot.tolist())
    transform.SetMatrix(linear.ravel().tolist(), 1e-6)
    transform.SetTranslation((shift - pivot + linear @ pivot).tolist())
    return transform


def _matrix(transform: Any) -> Matrix:
    """Return the matrix of a transform of ITK."""
    linear = np.array(transform.GetMatrix(), np.float64).reshape(3, 3)
    pivot = np.array(transform.GetCenter(), np.float64)
    shift = np.array(transform.GetTranslation(), np.float64) + pivot - linear @ pivot
    matrix = np.eye(4)
    matrix[:3, :3] = FLIP @ linear @ FLIP
    matrix[:3, 3] = FLIP @ shift
    return matrix


def register_level(
    fixed: Picture,
    moving: Picture,
    start: Matrix,
    *,
    samples: int,
    iterations: int,
    seed: int,
) -> tuple[Matrix, float]:
    """Improve a rigid transform (3 angles, 3 shifts) on one pyramid level by the correlation of the grey levels.

    Parameters
    ----------
    fixed, moving
        The two volumes.
    start
        Physical position in `fixed` to physical position in `moving`.
    samples
        Number of voxels of `fixed` on which the two are compared.
    iterations
        Most steps of the gradient descent.
    seed
        Of the random choice of samples; 0 is not allowed (ITK would read the clock).

    Returns
    -------
    matrix
        The improved transform.
    correlation
        Of the grey levels, 0 to 1; 0 where ITK found too little overlap to go on.
    """
    if seed <= 0:
        raise ValueError(f"seed must be above 0, for ITK takes 0 for the clock: got {seed}")
    size = np.array(fixed.grey.shape)
    centre = np.array(fixed.origin) + np.array(fixed.spacing) * (size - 1) / 2
    step = min(fixed.spacing)
    transform = _transform(start, centre)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetGlobalDefaultNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, samples / fixed.grey.size), seed)
    method.SetInterpolator(sitk.sitkLinear)
    # Slopes at the samples; ITK would filter every voxel of both volumes for them first.
    method.MetricUseFixedImageGradientFilterOff()
    method.MetricUseMovingImageGradientFilterOff()
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step,
        minStep=0.01 * step,
        numberOfIterations=iterations,
        gradientMagnitudeTolerance=1e-9,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    if (mask := fixed.mask()) is not None:
        method.SetMetricFixedMask(mask)
    if (mask := moving.mask()) is not None:
        method.SetMetricMovingMask(mask)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed.image(), moving.image())
    except RuntimeError:  # ITK's only sign of samples that all fall outside
        return start, 0.0
    return _matrix(transform), float(np.sqrt(max(0.0, -method.GetMetricValue())))
