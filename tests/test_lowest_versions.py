"""The lower bounds of dependencies are versions that a run of `.ci/run --lowest` installs and tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import lowest_versions
from tests.support.lowest_versions import constraints, project, stated

ROOT = Path(__file__).parents[1]
PROJECT = project()
STATED = list(stated(PROJECT))


def bound(requirement: str) -> str:
    """Return the lower bound of a requirement as packaging reads it, "" if it has none."""
    return next((each.version for each in Requirement(requirement).specifier if each.operator == ">="), "")


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_dependency_has_a_lower_bound(requirement: str) -> None:
    assert bound(requirement), f"{requirement}: without a bound nobody knows what works"


def test_constraints_are_the_lower_bounds_of_all_dependencies_and_extras() -> None:
    written = {canonicalize_name(line.name): line for line in map(Requirement, constraints(STATED))}
    assert len(written) == len(constraints(STATED)), "a dependency is held at two versions"
    assert set(written) == {canonicalize_name(Requirement(each).name) for each in STATED}
    assert {"numpy", "obstore", "dask-jobqueue", "dask-kubernetes", "matplotlib", "moto"} <= set(written)
    for requirement in STATED:
        held = written[canonicalize_name(Requirement(requirement).name)]
        assert str(held.specifier) == f"=={bound(requirement)}", f"{requirement} is held as {held}"
        assert held.marker == Requirement(requirement).marker


@pytest.mark.parametrize("requirement", STATED)
def test_what_is_installed_is_within_the_bounds(requirement: str) -> None:
    wanted = Requirement(requirement)
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        assert requirement not in PROJECT["dependencies"], f"{requirement} is not installed"
        pytest.skip(f"no {wanted.name}, which an extra asks for")
    assert wanted.specifier.contains(found, prereleases=True), f"{wanted.name} {found} is installed"


@pytest.mark.parametrize(
    ("requirements", "wanted"),
    [
        (["numpy>=2.0.1"], ["numpy==2.0.1"]),
        (["moto[s3,server]>=5.1", "dask [array] >= 2025.1"], ["moto==5.1", "dask==2025.1"]),
        (["zarr!=3.1.7,>=3.1.6,<4"], ["zarr==3.1.6"]),
        (["numpy", "scipy<2", "h5py==3.11"], []),
        (["Scikit_Image>=0.24", "scikit-image>=0.25"], ["scikit-image==0.25"]),
        (["zarr>=3.9", "zarr>=3.10", "zarr>=3.2"], ["zarr==3.10"]),
        (["zarr>=3.0", "zarr>=3"], ["zarr==3.0"]),
    ],
)
def test_bounds_of_every_form(requirements: list[str], wanted: list[str]) -> None:
    assert constraints(requirements) == wanted


def test_a_marker_stays_with_its_bound() -> None:
    requirements = [
        'numpy>=2.0.1 ; python_version < "3.13"',
        "numpy>=2.1; python_version >= '3.13'",
        'moto[s3]>=5.1 ; sys_platform == "linux" and extra == "test"',
    ]
    read = [Requirement(line) for line in constraints(requirements)]
    assert [(line.name, str(line.specifier)) for line in read] == [
        ("numpy", "==2.0.1"),
        ("numpy", "==2.1"),
        ("moto", "==5.1"),
    ]
    assert [line.marker for line in read] == [Requirement(each).marker for each in requirements]
    assert not any(line.extras for line in read), "pip takes no extras in constraints"


@pytest.mark.parametrize("requirement", ["", ">=2", "numpy @ file:///numpy.whl", "numpy[>=2", "numpy 2"])
def test_what_is_no_requirement_is_told(requirement: str) -> None:
    with pytest.raises(ValueError, match="is no requirement of the form"):
        constraints([requirement])


def test_a_bound_that_was_no_release_is_told() -> None:
    with pytest.raises(ValueError, match=r"'2\.0rc1' is no lower bound of numbers and dots"):
        constraints(["numpy>=2.0rc1"])


def test_the_program_needs_nothing_but_python(tmp_path: Path) -> None:
    script, there = str(Path(lowest_versions.__file__)), tmp_path / "lowest.txt"
    bare = [sys.executable, "-I", "-S", script]  # no packages, neither installed nor beside it
    subprocess.run([*bare, str(there)], check=True, cwd=tmp_path)
    printed = subprocess.run(bare, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert there.read_text().splitlines() == printed.splitlines() == constraints(STATED)


def test_the_workflow_tests_the_lowest_versions_with_the_lowest_python() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["lowest"]
    assert "bash .ci/run --lowest" in [step.get("run") for step in job["steps"]]
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert PROJECT["requires-python"] == f">={python}"


def test_ci_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    script = tmp_path / ".ci" / "run"  # a copy: what is not refused would make the environments here anew
    script.parent.mkdir()
    shutil.copy(ROOT / ".ci" / "run", script)
    told = subprocess.run(["bash", str(script), "--lowset"], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.splitlines() == ["unknown argument '--lowset': .ci/run takes none, or --lowest"]
