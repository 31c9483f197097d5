"""What the tables say of an electrode (paper, section 2): `from crackdask import analyse`.

Every function takes what ``crackdask.open`` returns, reads tables only, never a voxel, and gives lazy xarray back; the
damage factor and what follows from it, a number for each particle and state, are computed. Parameters are those of
the recipe's section ``[analyse]``; each function lets them be changed by name. The functions of damage also take what
:func:`damage` returned, so that it is worked out once.
"""

from __future__ import annotations

from crackdask.analysis.cell import cell_record, damage_of_cell, incremental_capacity
from crackdask.analysis.changes import changes, classes, damaged_on_charge, extremes, healed_on_discharge
from crackdask.analysis.damage import damage
from crackdask.analysis.damage_definitions import DAMAGE_FACTORS, DamageFactor, define_damage
from crackdask.analysis.damage_tree import paths, ranking
from crackdask.analysis.intensity import By, intensity, profiles, rmpi, rmpi_per_volume
from crackdask.analysis.parameters import AnalyseParams, AnalysisError
from crackdask.analysis.regions import groups, regions, tracked
from crackdask.analysis.uncertainty import evidence

__all__ = [
    "DAMAGE_FACTORS",
    "AnalyseParams",
    "AnalysisError",
    "By",
    "DamageFactor",
    "cell_record",
    "changes",
    "classes",
    "damage",
    "damage_of_cell",
    "damaged_on_charge",
    "define_damage",
    "evidence",
    "extremes",
    "groups",
    "healed_on_discharge",
    "incremental_capacity",
    "intensity",
    "paths",
    "profiles",
    "ranking",
    "regions",
    "rmpi",
    "rmpi_per_volume",
    "tracked",
]
