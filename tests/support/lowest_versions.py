"""Constraints for pip that hold every dependency at the lowest version that pyproject.toml allows.

`python tests/support/lowest_versions.py lowest.txt` writes them before anything is installed, with the standard library
alone; `pip install -c lowest.txt -e ".[test]"` then installs them.

Only the bounds `>=` count. A marker stays with its bound, since pip reads markers in constraints too; names of extras
(``moto[s3]``) go, since it refuses those.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
#: Name, extras, versions and marker of a requirement; an address (``name @ ...``) is none of what we depend on.
_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\]\s*)?(?P<versions>[<>=!~][^;@\[\]]*)?(?:;\s*(?P<marker>.+))?"
)
_LOWEST = re.compile(r">=\s*([^\s,]+)")


def stated(project: dict[str, Any]) -> Iterator[str]:
    """Return every requirement of a project table, those of its extras among them, but for the project itself.

    >>> extras = {"files": ["h5py>=3"], "all": ["us[files]"]}
    >>> list(stated({"name": "us", "dependencies": ["numpy>=2"], "optional-dependencies": extras}))
    ['numpy>=2', 'h5py>=3']
    """
    extras = project.get("optional-dependencies", {}).values()
    for requirement in (*project.get("dependencies", []), *(each for extra in extras for each in extra)):
        if _parts(requirement)[0] != _normal(project["name"]):
            yield requirement


def constraints(requirements: Iterable[str]) -> list[str]:
    """Return a line for each dependency that has a lower bound, in their order.

    Where one is named twice, as in an extra and in the tests, the higher bound holds, as it does for pip.

    >>> constraints(["numpy>=2.0.1", "dask[array]>=2025.1,<2027", "numpy >= 2.1", 'tomli>=2; python_version < "3.11"'])
    ['numpy==2.1', 'dask==2025.1', 'tomli==2; python_version < "3.11"']
    """
    lowest: dict[tuple[str, str], str] = {}
    for requirement in requirements:
        name, versions, marker = _parts(requirement)
        for version in _LOWEST.findall(versions):
            lowest[name, marker] = max(lowest.get((name, marker), "0"), version, key=_release)
    return [f"{name}=={version}" + (f"; {marker}" if marker else "") for (name, marker), version in lowest.items()]


def _parts(requirement: str) -> tuple[str, str, str]:
    """Return name, versions and marker; raise ValueError for what has none of this form."""
    found = _REQUIREMENT.fullmatch(requirement.strip())
    if found is None:
        raise ValueError(f"{requirement!r} is no requirement of the form name[extra]>=version; marker")
    return _normal(found["name"]), found["versions"] or "", found["marker"] or ""


def _normal(name: str) -> str:
    """Return a name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to be compared: 2.0 is 2; raise ValueError for one that was no release."""
    if re.fullmatch(r"\d+(\.\d+)*", version) is None:
        raise ValueError(f"{version!r} is no lower bound of numbers and dots")
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def project(path: Path = PYPROJECT) -> dict[str, Any]:
    """Return the project table of a pyproject.toml."""
    table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    return table


def main(arguments: list[str]) -> None:
    """Write the constraints of this project into a file, or print them."""
    text = "".join(f"{line}\n" for line in constraints(stated(project())))
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
