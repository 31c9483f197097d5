"""Cracks of single particles, and the table of all, as notebooks call them: `crackdask.cracks.cracks_of`."""

from __future__ import annotations

from crackdask.analysis.cracks import cracks_of, table

__all__ = ["cracks_of", "table"]
