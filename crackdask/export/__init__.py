"""Results for other tools: tables as CSV, Parquet and Excel, labels and tomograms as TIFF, properties as OME-Zarr.

Reads a finished store through the analysis and writes beside it, never into it; only `paint` works in blocks, with the
engine. A table is added as one entry of :data:`TABLES` in `tables`, what can be painted as one of `properties`; `write`
has the formats.
"""

from __future__ import annotations

from crackdask.export.paint import PaintError, paint
from crackdask.export.properties import ExportError, properties, property_of
from crackdask.export.slices import export_labels, export_tomograms
from crackdask.export.tables import TABLES
from crackdask.export.write import FORMATS, Exported, export_tables

__all__ = [
    "FORMATS",
    "TABLES",
    "ExportError",
    "Exported",
    "PaintError",
    "export_labels",
    "export_tables",
    "export_tomograms",
    "paint",
    "properties",
    "property_of",
]
