"""Names of the store: steps and units, groups, dimensions and variables with dtype, unit and meaning.

Notebooks and other tools read these names; they are a contract.
"""

from __future__ import annotations

from dataclasses import dataclass

FORMAT_VERSION = 1
SPATIAL = ("z", "y", "x")
VOLUME = ("state", *SPATIAL)
#: The steps of the method, in order; what each declares of itself is in its file in `crackdask.steps`.
STEPS = (
    "reconstruct",
    "read",
    "tomograms",
    "register",
    "grey",
    "denoise",
    "mask",
    "labels",
    "transfer",
    "sharpness",
    "levels",
    "measure",
    "electrochemistry",
    "track",
)
GREY_LEVELS = 256
OUTSIDE = 0  # grey level of voxels outside the scan
#: Codes of findings about the cell's record, which may be written anew by themselves.
RECORD_FINDINGS = ("cycler-notes", "current-reversed", "other-cell", "not-linked")
#: What the coarser levels of the volumes are called together, as something that a step writes.
LEVELS = "levels"
#: Tomograms that are kept as they were reconstructed: what the step, its volume and their group are called.
TOMOGRAMS = "tomograms"
#: The array that holds them, as seen from the store.
KEPT_TOMOGRAMS = f"{TOMOGRAMS}/attenuation"
#: Groups of the store whose arrays hold voxels of each state.
VOXEL_GROUPS = ("volumes", LEVELS, "labels", TOMOGRAMS)
#: The labels under the name by which readers of OME-Zarr look for them; no voxels of its own where a disk has links.
LABEL_IMAGE = "labels/particle/0/label"


def level_array(volume: str, level: int) -> str:
    """Return which array of a store holds a level of `grey` or `label`; level 0 is the volume itself.

    >>> level_array("grey", 0), level_array("grey", 2), level_array("label", 1)
    ('volumes/grey', 'levels/2/grey', 'labels/particle/1/label')
    """
    if level == 0:
        return f"volumes/{volume}"
    return f"{LEVELS if volume == 'grey' else 'labels/particle'}/{level}/{volume}"


def written_as(array: str) -> str:
    """Return what the step that writes an array of a store calls it.

    >>> written_as("volumes/grey"), written_as("levels/2/grey"), written_as("labels/particle/1/label")
    ('grey', 'levels', 'levels')
    >>> written_as(KEPT_TOMOGRAMS)
    'tomograms'
    """
    group, _, name = array.partition("/")
    return name if group == "volumes" else TOMOGRAMS if group == TOMOGRAMS else LEVELS


@dataclass(frozen=True, order=True)
class UnitKey:
    """A unit of work: one step for one state.

    Its name is "STEP-STATE" wherever it is written down: in the root attribute `steps`, the work folder, messages.

    >>> str(UnitKey("mask", 2)), UnitKey.parse("mask-2")
    ('mask-2', UnitKey(step='mask', state=2))
    """

    step: str
    state: int

    def __str__(self) -> str:
        """Name the unit as files and attributes do."""
        return f"{self.step}-{self.state}"

    @classmethod
    def parse(cls, name: str) -> UnitKey:
        """Return the unit that a file or an attribute names.

        Raises
        ------
        ValueError
            If that is no name of a unit.
        """
        step, _, state = name.rpartition("-")
        if not step or not (state.isascii() and state.isdigit()):
            raise ValueError(f"{name!r} names no unit, which would be STEP-STATE, such as 'mask-2'")
        return cls(step, int(state))


@dataclass(frozen=True)
class Variable:
    """What a variable of the store holds."""

    dtype: str
    dims: tuple[str, ...]
    units: str
    long_name: str

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the variable on disk."""
        return {"units": self.units, "long_name": self.long_name}


def _columns(*rows: tuple[str, str, str, str]) -> dict[str, Variable]:
    return {name: Variable(dtype, ("state", "particle"), units, long_name) for name, dtype, units, long_name in rows}


COORDINATES = {
    "state": Variable("str", ("state",), "1", "name of the electrochemical state"),
    "voltage": Variable("float64", ("state",), "V", "cell voltage against Li/Li+"),
    "step": Variable("str", ("state",), "1", "step of cycling: pristine, charge, discharge or aged"),
    "cycle": Variable("int64", ("state",), "1", "cycle number"),
    "z": Variable("float64", ("z",), "um", "position of voxel centres along z"),
    "y": Variable("float64", ("y",), "um", "position of voxel centres along y"),
    "x": Variable("float64", ("x",), "um", "position of voxel centres along x"),
    "particle": Variable("uint32", ("particle",), "1", "particle label, the same in every state"),
    "shell": Variable("uint32", ("shell",), "1", "shell number, 1 at the particle's surface"),
    "grey": Variable("uint8", ("grey",), "1", "grey level"),
}
VOLUMES = {
    "grey": Variable("uint8", VOLUME, "1", "registered grey level, 0 outside the scan"),
    "label": Variable("uint32", VOLUME, "1", "particle label, 0 is background"),
    "denoised": Variable("uint8", VOLUME, "1", "denoised grey level"),
    "mask": Variable("bool", VOLUME, "1", "solid phase"),
}
PARTICLES = _columns(
    ("voxels", "uint32", "voxel", "number of voxels; 0 where the particle is absent"),
    ("volume_um3", "float64", "um3", "volume"),
    ("equivalent_diameter_um", "float64", "um", "diameter of the sphere of the same volume"),
    ("surface_area_um2", "float64", "um2", "surface area from weighted 2x2x2 configurations"),
    ("sphericity", "float64", "1", "surface of the sphere of the same volume over the surface area"),
    ("centroid_z_um", "float64", "um", "centroid along z"),
    ("centroid_y_um", "float64", "um", "centroid along y"),
    ("centroid_x_um", "float64", "um", "centroid along x"),
    ("bbox_z0", "int32", "voxel", "first voxel along z"),
    ("bbox_z1", "int32", "voxel", "one past the last voxel along z"),
    ("bbox_y0", "int32", "voxel", "first voxel along y"),
    ("bbox_y1", "int32", "voxel", "one past the last voxel along y"),
    ("bbox_x0", "int32", "voxel", "first voxel along x"),
    ("bbox_x1", "int32", "voxel", "one past the last voxel along x"),
    ("axis_1_um", "float64", "um", "longest axis of the ellipsoid with the same second moments"),
    ("axis_2_um", "float64", "um", "middle axis of the ellipsoid with the same second moments"),
    ("axis_3_um", "float64", "um", "shortest axis of the ellipsoid with the same second moments"),
    ("elongation", "float64", "1", "middle axis over longest axis"),
    ("flatness", "float64", "1", "shortest axis over middle axis"),
    ("max_depth_um", "float64", "um", "largest distance of a voxel to the particle's surface"),
    ("grey_mean", "float64", "1", "mean grey level"),
    ("grey_std", "float64", "1", "standard deviation of the grey level over the particle's voxels"),
    ("grey_min", "uint8", "1", "lowest grey level; 0 where the particle is absent"),
    ("grey_max", "uint8", "1", "highest grey level; 0 where the particle is absent"),
    ("grey_p05", "float64", "1", "5th percentile of the grey level"),
    ("grey_p50", "float64", "1", "median grey level"),
    ("grey_p95", "float64", "1", "95th percentile of the grey level"),
    ("displacement_z_um", "float64", "um", "own motion along z since the reference, in its frame, less the transform"),
    ("displacement_y_um", "float64", "um", "own motion along y since the reference, in its frame, less the transform"),
    ("displacement_x_um", "float64", "um", "own motion along x since the reference, in its frame, less the transform"),
    (
        "volumetric_strain",
        "float64",
        "1",
        "volume gained around the particle since the reference, over the volume then",
    ),
    ("volumetric_strain_error", "float64", "1", "standard error of the volumetric strain"),
    ("touches_border", "bool", "1", "has a voxel on the image border"),
    ("touches_invalid", "bool", "1", "is, or has a 26-neighbour, outside the scan"),
    ("n_contacts", "uint32", "1", "number of particles that share a face with it"),
    ("contact_area_um2", "float64", "um2", "area shared with other particles"),
    ("tracked", "bool", "1", "none of the reasons for a drop holds in any state"),
    ("lost", "bool", "1", "absent in at least one state"),
    ("neighbour_lost", "bool", "1", "shares a face in any state with a particle that is lost"),
    ("on_border", "bool", "1", "touches the image border in any state"),
    ("on_invalid", "bool", "1", "touches a region outside the scan in any state"),
)
#: Why a particle is not tracked, in words.
NOT_TRACKED = {
    "on_border": "on the image border",
    "on_invalid": "at the edge of a scan",
    "lost": "absent in some state",
    "neighbour_lost": "beside an absent one",
}
SHELLS = {
    "voxels": Variable("uint32", ("state", "particle", "shell"), "voxel", "voxels in the shell"),
    "grey_sum": Variable("uint64", ("state", "particle", "shell"), "1", "sum of grey levels"),
    "grey_sumsq": Variable("uint64", ("state", "particle", "shell"), "1", "sum of squared grey levels"),
}
HISTOGRAMS = {
    "voxels": Variable("uint32", ("state", "particle", "grey"), "voxel", "voxels of each grey level"),
}
CONTACTS = {
    "state": Variable("str", ("contact",), "1", "name of the electrochemical state"),
    "particle_a": Variable("uint32", ("contact",), "1", "lower label of the pair"),
    "particle_b": Variable("uint32", ("contact",), "1", "higher label of the pair"),
    "faces": Variable("uint32", ("contact",), "1", "voxel faces between the two particles"),
    "area_um2": Variable("float64", ("contact",), "um2", "area between the two particles"),
}
#: What `crackdask cracks` adds; NaN or 0 in states that were not asked for, and where a particle is absent.
CRACKS = {
    "computed": Variable("bool", ("state",), "1", "whether the cracks of the state were measured"),
    **_columns(
        ("solid_grey", "float64", "1", "grey level of the particle's own solid"),
        ("core_volume_um3", "float64", "um3", "volume of the core, the shells deeper than half of the deepest"),
        ("crack_voxels", "uint32", "voxel", "voxels of the core whose void fraction is above the threshold"),
        ("crack_volume_um3", "float64", "um3", "volume of the crack voxels, counted"),
        (
            "crack_volume_partial_um3",
            "float64",
            "um3",
            "void volume of the core by partial volume; noise may bring it below 0",
        ),
        (
            "crack_volume_partial_error_um3",
            "float64",
            "um3",
            "standard error of the volume by partial volume, from noise",
        ),
        ("skeleton_voxels", "uint32", "voxel", "voxels of the cracks' skeleton"),
        ("skeleton_length_um", "float64", "um", "length of the cracks' skeleton"),
        ("branch_points", "uint32", "1", "voxels of the skeleton with three or more steps to others"),
        ("end_points", "uint32", "1", "voxels of the skeleton with a single step to another"),
        (
            "thickness_mean_um",
            "float64",
            "um",
            "mean local thickness of the cracks along the skeleton; NaN without a crack",
        ),
        (
            "thickness_max_um",
            "float64",
            "um",
            "largest local thickness of the cracks on the skeleton; NaN without a crack",
        ),
    ),
}
#: Steps of the registration, each of which goes on from the one before.
CHAIN = ("rigid", "affine", "local")
_LATTICE = ("state", "lattice_z", "lattice_y", "lattice_x")
TRANSFORMS = {
    "matrix": Variable("float64", ("state", "row", "col"), "voxel", "stored voxel index to source voxel index"),
    "residual_voxels": Variable("float64", ("state",), "voxel", "residual of the registration"),
    "transform": Variable("str", ("state",), "1", "transform of the whole scan: none, rigid or affine"),
    "chain_residual_voxels": Variable(
        "float64", ("state", "chain"), "voxel", "residual after each step of the registration; NaN where not made"
    ),
    "bent": Variable("bool", ("state",), "1", "whether a field of displacements was made"),
    "displacement": Variable(
        "float64", (*_LATTICE, "axis"), "voxel", "local motion, in the frame of the reference, before the transform"
    ),
    "displacement_error": Variable("float64", _LATTICE, "voxel", "standard error of the local motion; NaN without one"),
}
_SEARCHED, _IMAGE = ("state", "searched"), ("state", "at", "strip_y", "strip_x")
#: What a run told of the scans that it reconstructed from projections; NaN in states that were tomograms already, and
#: where states have a different number of values.
RECONSTRUCTION = {
    "center": Variable("float64", ("state", "row"), "pixel", "detector column of the axis of rotation in each row"),
    "flaws": Variable("float64", ("state", "row", "flaw"), "1", "flawed pixels, or columns, of the kept projections"),
    "window": Variable(
        "float64", ("state", "level"), "1/voxel", "attenuation per voxel edge at levels 0 and 65535, NaN without levels"
    ),
    "beyond": Variable("float64", ("state", "row"), "1", "voxels of the tomogram beyond the window"),
    "searched_row": Variable("float64", _SEARCHED, "1", "row in which the center was searched"),
    "sweep": Variable("float64", _SEARCHED, "pixel", "center by a sweep of reconstructions"),
    "opposite": Variable("float64", _SEARCHED, "pixel", "center by opposite views"),
    "candidate": Variable("float64", ("state", "tried"), "pixel", "center that was tried by reconstruction"),
    "spread": Variable(
        "float64", ("state", "tried"), "1", "how evenly edges of slices are spread, over its largest value"
    ),
    "mirrored": Variable("float64", ("state", "mirror"), "pixel", "center that was tried by opposite views"),
    "mismatch": Variable("float64", ("state", "mirror"), "1", "mismatch of opposite views, over its largest value"),
    "overlaid": Variable("float64", ("state", "overlay"), "pixel", "center that was tried with two views alone"),
    "likeness": Variable("float64", ("state", "overlay"), "1", "correlation of the first view and the opposite one"),
    "strip_center": Variable("float64", ("state", "at"), "pixel", "center of a slice of the strip"),
    "strip": Variable("float32", _IMAGE, "1/voxel", "attenuation per voxel edge about centers beside the found one"),
    "example_row": Variable("float64", ("state",), "1", "row of the examples"),
    "sinogram": Variable(
        "float32", ("state", "rings", "angle", "column"), "1", "part of a sinogram before and after ring removal"
    ),
    "slice": Variable(
        "float32", ("state", "rings", "slice_y", "slice_x"), "1/voxel",
        "middle of a slice, attenuation per voxel edge, before and after ring removal",
    ),
}  # fmt: skip
#: Coordinates of that group.
RECONSTRUCTION_COORDINATES = {
    "row": Variable("int64", ("row",), "1", "row of the tomogram, 0 at the first one that was reconstructed"),
    "flaw": Variable("str", ("flaw",), "1", "what is counted"),
    "rings": Variable("str", ("rings",), "1", "before or after ring removal"),
    "level": Variable("int64", ("level",), "1", "of 16 bits"),
}
#: What the cell did, from a cycler's files, and which moment of it each state belongs to; NaN where none is known.
ELECTROCHEMISTRY = {
    "time": Variable("float64", ("record",), "s", "time since the record began"),
    "cell_voltage": Variable("float64", ("record",), "V", "measured voltage of the cell"),
    "current": Variable("float64", ("record",), "mA", "current, positive on charge"),
    "charge": Variable("float64", ("record",), "mAh", "charge put in since the record began, less what came out"),
    "linked_by": Variable(
        "str", ("state",), "1", "what links the state to the record: time, metadata, rest, or nothing"
    ),
    "link_reason": Variable("str", ("state",), "1", "why the state is linked there, or why it is not"),
    "scan_begin": Variable("float64", ("state",), "s", "beginning of the scan, or of the rest that it was taken in"),
    "scan_end": Variable("float64", ("state",), "s", "end of the scan, or of the rest that it was taken in"),
    "scan_voltage": Variable("float64", ("state",), "V", "measured voltage of the cell there"),
    "scan_charge": Variable("float64", ("state",), "mAh", "charge put in since the record began, there"),
}
#: A tomogram that is made of projections.
TOMOGRAM = Variable("float32", SPATIAL, "1/voxel", "attenuation per voxel edge")
#: Those that a store keeps, of float16 or float32 as the recipe says.
ATTENUATION = Variable(
    "float32", VOLUME, "1/voxel",
    "attenuation per voxel edge, in the frame of each scan; NaN in states that were tomograms already",
)  # fmt: skip
#: Coordinates of the lattice of displacements.
LATTICE_COORDINATES = {
    "lattice_z": Variable("float64", ("lattice_z",), "um", "position of lattice nodes along z"),
    "lattice_y": Variable("float64", ("lattice_y",), "um", "position of lattice nodes along y"),
    "lattice_x": Variable("float64", ("lattice_x",), "um", "position of lattice nodes along x"),
    "axis": Variable("str", ("axis",), "1", "axis of a displacement"),
    "chain": Variable("str", ("chain",), "1", "step of the registration"),
}
#: What the root attribute `found` tells of grey levels across each scan, by name of the state, where there is any.
ACROSS_SCANS = {
    "across_scan": "level of the brightest phase in quarters along `z`, `y` and `x` of the scan, off its mean, as "
    "shares of the contrast: `before` and, with `[grey] flatten`, `after`",
    "flat_field": "what `[grey] flatten` took off, raw values: levels of `background` (the darkest phase) and `solid` "
    "(the brightest), coefficients by `terms`, in places from -1 to 1 across the scan along z, y and x, which are "
    "(voxel - (n - 1) / 2) / (n / 2); `to`: the levels that they were brought to",
    "rings": "where they matter, `strength`: variance times a voxel, grey levels squared; `axis_yx`: voxel of the scan "
    "that they are about",
}
