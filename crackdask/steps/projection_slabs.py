"""How projections are cut: blocks of frames to be sorted, slabs of rows to be reconstructed, and what these take.

All is decided by the shape of a scan alone, and no bit of a slice depends on it.
"""

from __future__ import annotations

from crackdask.grid import Grid, Triple
from crackdask.kernels.ramp_filter import LANES

#: Bytes that the frames of one block of the first pass may take, and one slab of slices with all that makes it; a slab
#: of fewer rows than slices that are made side by side would waste most of the work, and may take more.
FRAME_BYTES, SLAB_BYTES, FEW_ROWS_BYTES = 192 * 2**20, 512 * 2**20, 1280 * 2**20
#: Most rows of a slab, and most frames of a block: chunks of the sinograms are as large.
MOST_ROWS, MOST_FRAMES = 16, 64
#: How often one row of attenuations is there at most while its stripes are removed.
ROW_COPIES = 6
#: Rows on which the centre is searched.
SEARCHED = 5


def frame_grid(frames: Triple, itemsize: int) -> Grid:
    """Return the blocks of frames in which a scan is read, decided by its shape alone.

    >>> frame_grid((3000, 2160, 2560), 2).block
    (18, 2160, 2560)
    """
    count = FRAME_BYTES // (frames[1] * frames[2] * itemsize)
    return Grid(frames, (max(1, min(count, MOST_FRAMES, frames[0])), frames[1], frames[2]))


def slab_rows(frames: Triple) -> int:
    """Return the slices that are made at once, decided by the shape alone.

    >>> slab_rows((3000, 2160, 2560)), slab_rows((180, 100, 128)), slab_rows((6000, 4000, 6000))
    (4, 16, 1)
    """
    rows = MOST_ROWS
    while rows > 1 and slab_bytes(frames, rows) > (SLAB_BYTES if rows > LANES else FEW_ROWS_BYTES):
        rows //= 2
    return rows


def slab_bytes(frames: Triple, rows: int, itemsize: int = 2) -> int:
    """Return what a slab takes: counts and attenuations, or these with slices and the grid of Fourier space."""
    projections, _, columns = frames
    grid = 4 * LANES * (3 * columns // 2 + 16) ** 2
    counted = rows * columns * projections * max(2 * itemsize, itemsize + 4)
    one_row = 4 * ROW_COPIES * columns * projections
    lines = 2048 * columns  # of a few projections, padded and transformed, side by side
    return max(counted + one_row, rows * columns * 4 * (projections + columns) + grid + lines)


def search_bytes(frames: Triple, itemsize: int = 2) -> int:
    """Return what the search of the centre in one row takes: slices about several centres are made side by side."""
    projections, _, columns = frames
    one_row = columns * projections
    return one_row * (itemsize + 4 * 5) + slab_bytes((projections, LANES, columns), LANES, itemsize)


def sinogram_chunk(frames: Triple, itemsize: int) -> Triple:
    """Return the chunks of the raw sinograms: the frames of one block, the rows of one slab."""
    return frame_grid(frames, itemsize).block[0], slab_rows(frames), frames[2]


def searched_rows(rows: int) -> list[int]:
    """Return the rows on which the centre is searched, evenly spread and none at an end.

    >>> searched_rows(2160)
    [360, 720, 1080, 1440, 1800]
    """
    count = min(SEARCHED, rows)
    return [(k + 1) * rows // (count + 1) for k in range(count)]
