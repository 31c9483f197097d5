"""Scans on disk, in the formats that beamlines and laboratory tomographs write.

`open_source` looks at headers only and finds what is wrong with a scan before a voxel is read;
`Source.read` returns one box of voxels, wherever it is called. Layouts of projections are in `scan_parts`, the cycler's
files in `cycler`. Begin at `opening`. May import storage and grid.
"""

from crackdask.sources.base import NotThereError, Source, SourceError
from crackdask.sources.metadata import stated_voxel_um, suggest
from crackdask.sources.opening import open_source

__all__ = ["NotThereError", "Source", "SourceError", "open_source", "stated_voxel_um", "suggest"]
