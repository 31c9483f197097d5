"""What a contributor reads is true: files exist, versions agree, the API reference builds without a warning."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import crackdask

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
#: What a word in backticks must look like to be a file or a folder of the repository.
_PATH = re.compile(r"`((?:crackdask|tests|pipelines|deploy|\.ci)/[\w./-]*)`")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_files_that_are_named_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(_PATH.findall(text)) | set(re.findall(r"\]\(([\w./-]+)\)", text))
    if page == "CONTRIBUTING.md":
        assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_room_is_on_the_map_and_says_what_it_is() -> None:
    rooms = sorted(path.parent.name for path in (ROOT / "crackdask").glob("*/__init__.py"))
    assert len(rooms) >= 14
    for room in rooms:
        assert f"`crackdask/{room}/`" in CONTRIBUTING or f"`{room}/`" in CONTRIBUTING, room
        said = (ROOT / "crackdask" / room / "__init__.py").read_text()
        assert said.startswith('"""'), room
        assert len(said.split('"""')[1]) > 120, f"crackdask/{room}/__init__.py does not say what lives there"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == crackdask.__version__
    assert {"message", "title", "authors", "license"} <= set(citation)
    (paper,) = citation["references"]
    assert paper["doi"] in (ROOT / "README.md").read_text()


def test_hooks_and_workflow_run_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {hook["entry"].split()[0] for hook in hooks}
    assert tools == {"ruff", "mypy", "lint-imports"}
    assert all(f".venv/bin/{tool}" in ci for tool in tools)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert "bash .ci/run" in [step.get("run") for step in workflow["jobs"]["tests"]["steps"]]


def test_type_hints_are_for_users_too() -> None:
    assert (ROOT / "crackdask" / "py.typed").is_file()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert packages == {"packages": ["crackdask"]}


def test_the_api_reference_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("pdoc", reason="no pdoc: pip install crackdask[docs]")
    pytest.importorskip("matplotlib", reason="no matplotlib: pip install crackdask[report]")
    (line,) = re.findall(r"^    EAGER_IMPORT=1 (.+)$", CONTRIBUTING, re.MULTILINE)
    words = shlex.split(line)
    assert words[:3] == [".venv/bin/python", "-m", "pdoc"]
    words[words.index("build/api")] = str(tmp_path)
    built = subprocess.run(
        [sys.executable, "-W", "error", *words[1:]],
        cwd=ROOT, env={**os.environ, "EAGER_IMPORT": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    assert "arn" not in built.stderr, built.stderr
    front = (tmp_path / "crackdask.html").read_text()
    assert all(f'id="{name}"' in front for name in crackdask.__all__ if name != "analyse")
    for page, name in (("analyse", "damage"), ("cracks", "cracks_of"), ("figures", "tree_of_paths")):
        assert f'id="{name}"' in (tmp_path / "crackdask" / f"{page}.html").read_text()
