"""What contributors and users read is true: files, names, keys and options exist, versions agree, references build."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from pydantic import BaseModel

import crackdask
from crackdask.cli.common import COMMANDS, app
from crackdask.recipe.recipe import Recipe
from crackdask.schema import STEPS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
#: What a word in backticks looks like that is a file or folder of the repository, a name of the package, a bare name.
_PATH = re.compile(r"`((?:crackdask|tests|pipelines|deploy|\.ci|\.github)/[\w./-]*)`")
_DOTTED = re.compile(r"`(crackdask(?:\.[a-z_]+)+)`")
_NAME = re.compile(r"`([A-Za-z_]\w*)`")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def sections(page: str, level: str) -> dict[str, str]:
    """Return the sections of a page by their headings."""
    parts = re.split(rf"^{level} (.+)$", text_of(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# ---------------------------------------------------------------- files and names


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md"])
def test_files_that_are_named_are_there(page: str) -> None:
    text, folder = text_of(page), (ROOT / page).parent
    named = {ROOT / path for path in _PATH.findall(text)}
    named |= {folder / path for path in re.findall(r"\]\(([\w./-]+)\)", text)}
    if folder != ROOT:
        named |= {folder / path for path in re.findall(r"`((?:slurm|pbs|kubernetes)/[\w./-]*)`", text)}
    assert len(named) > {"CONTRIBUTING.md": 60, "README.md": 4, "deploy/README.md": 6}.get(page, -1)
    assert [str(path) for path in sorted(named) if not path.exists()] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_names_of_the_package_that_are_named_are_there(page: str) -> None:
    for dotted in sorted(set(_DOTTED.findall(text_of(page)))):
        owner, _, name = dotted.rpartition(".")
        try:
            importlib.import_module(dotted)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(owner), name), dotted


def test_each_kind_of_change_names_what_its_files_hold() -> None:
    kinds = sections("CONTRIBUTING.md", "###")
    assert len(kinds) == 13
    for kind, recipe in kinds.items():
        files = [ROOT / path for path in _PATH.findall(recipe)]
        assert any(path.is_relative_to(ROOT / "tests") for path in files), f"{kind}: no test is named"
        held = "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
        names = set(_NAME.findall(recipe)) - {"fastmath", "parallel"}  # which are to be in none
        assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", held)] == [], kind


def test_every_room_is_on_both_maps_and_says_what_it_is() -> None:
    rooms = sorted(path.parent.name for path in (ROOT / "crackdask").glob("*/__init__.py"))
    assert len(rooms) >= 14
    table = sections("CONTRIBUTING.md", "##")["The map"]
    layout = sections("README.md", "##")["How it stays exact"]
    for room in rooms:
        assert f"`crackdask/{room}/`" in table or f"`{room}/`" in table, room
        assert f" {room}/ " in layout, room
        said = text_of(f"crackdask/{room}/__init__.py")
        assert said.startswith('"""'), room
        assert len(said.split('"""')[1]) > 120, f"crackdask/{room}/__init__.py does not say what lives there"
    for line in re.findall(r"^      (\S.*)$", layout, re.MULTILINE):
        first = re.split(r" {3,}", line)[0]
        assert [name for name in first.split() if not (ROOT / "crackdask" / name).exists()] == []


def test_steps_are_independent_of_each_other() -> None:
    (contract,) = (c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "independence")
    assert set(contract["modules"]) == {f"crackdask.steps.{step}" for step in STEPS}


def test_no_check_of_the_package_goes_when_python_optimises() -> None:
    files = sorted((ROOT / "crackdask").rglob("*.py"))
    assert len(files) > 150
    asserted = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert asserted == []


# ---------------------------------------------------------------- keys and options


def stated(row: str) -> dict[str, str]:
    """Return the keys of one row of the README's table of the recipe, with what stands in brackets behind each.

    >>> stated('`window` ("auto" or `[lo, hi]`), `z`, `x`: ranges')
    {'window': '"auto" or [lo, hi]', 'z': '', 'x': ''}
    """
    bare = re.sub(r"`(\[[^`]*\])`", r"\1", row)
    return {key: default for key, _, default in re.findall(r"`([a-z][a-z0-9_]*)`( \(((?:[^()]|\([^()]*\))*)\))?", bare)}


def test_the_recipe_of_the_readme_is_that_of_the_code() -> None:
    models = {field.alias or name: field.annotation for name, field in Recipe.model_fields.items()}
    rows = dict(re.findall(r"^\| `\[(\w+)\]` \| (.+) \|$", text_of("README.md"), re.MULTILINE))
    assert set(rows) == set(models) - {"experiment", "states", "measure", "cluster"}
    for section, row in rows.items():
        kinds = get_args(models[section]) or (models[section],)  # a section, or a section or none
        (model,) = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
        keys = stated(row)
        assert set(keys) <= set(model.model_fields), section
        if "and limits of" not in row:
            assert set(keys) == set(model.model_fields), section
        for key, words in keys.items():
            default = model.model_fields[key].default
            if words and key != "memory" and isinstance(default, bool | int | float | str):  # which is in GiB
                stands = re.split(r"[,:; ]", words)[0].strip('"')
                assert stands == (str(default).lower() if isinstance(default, bool) else str(default)), key


@pytest.mark.parametrize("page", ["README.md", "deploy/README.md", "deploy/kubernetes/README.md", "CONTRIBUTING.md"])
def test_commands_and_options_are_there(page: str) -> None:
    for name in COMMANDS:
        importlib.import_module(f"crackdask.cli.{name}")
    commands = typer.main.get_group(app).commands
    options = {
        name: {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        for name, command in commands.items()
    }
    assert set(commands) == set(COMMANDS)
    text = re.sub(r"\\\n\s*", "", text_of(page))
    typed = re.findall(r"\bcrackdask (?!\d)([a-z]+)\b([^\n`#]*)", text)
    for name, rest in typed:
        if name in commands:
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= options[name], f"crackdask {name}{rest}"
    if page == "README.md":
        named = set(re.findall(r"`(--[a-z][a-z-]*)", text))
        assert named <= {"--help"}.union(*options.values())
        assert {name for name, _ in typed} >= set(COMMANDS)


# ---------------------------------------------------------------- citation, hooks, forms, workflow


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == crackdask.__version__ == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert {"message", "title", "authors"} <= set(citation)
    (paper,) = citation["references"]
    assert paper["doi"] in text_of("README.md")


def test_hooks_and_workflow_run_what_ci_runs() -> None:
    ci = text_of(".ci/run")
    (local,) = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    tools = {hook["entry"].split()[0] for hook in local["hooks"]}
    assert tools == {"ruff", "mypy", "lint-imports"}
    assert all(f".venv/bin/{tool}" in ci for tool in tools)
    job = yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"]["tests"]
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    minor = [int(c.rpartition(".")[2]) for c in PROJECT["project"]["classifiers"] if "Python :: 3." in c]
    assert job["strategy"]["matrix"]["python"] == [f"3.{min(minor)}", f"3.{max(minor)}"]
    assert PROJECT["project"]["requires-python"] == f">=3.{min(minor)}"


def test_forms_ask_what_is_needed_to_help() -> None:
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")}
    assert set(forms) == {"bug", "question", "feature", "config"}
    for name in ("bug", "question", "feature"):
        form = forms[name]
        assert {"name", "description", "body"} <= set(form)
        asked = [field["id"] for field in form["body"]]
        assert len(set(asked)) == len(asked)
        assert all(field["type"] == "textarea" and field["attributes"]["label"] for field in form["body"])
        assert any(field.get("validations", {}).get("required") for field in form["body"])
    assert {"command", "recipe", "status", "versions"} <= {field["id"] for field in forms["bug"]["body"]}


# ---------------------------------------------------------------- what is built


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the names of the files of a wheel and of a source archive, built as pip does."""
    pytest.importorskip("hatchling", reason="no hatchling: pip install hatchling")
    folder = tmp_path_factory.mktemp("archives")
    for kind in ("wheel", "sdist"):
        build = f"from hatchling.build import build_{kind} as build; build({str(folder)!r})"
        subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as inside, tarfile.open(source) as sources:
        files = {member.name.partition("/")[2] for member in sources if member.isfile()}
        return {"wheel": set(inside.namelist()), "source": files}


def test_a_wheel_carries_the_package_its_type_hints_and_decisions_and_nothing_else(
    archives: dict[str, set[str]],
) -> None:
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "crackdask").rglob("*") if path.is_file()]
    wanted = {name for name in files if Path(name).suffix in (".py", ".md")} | {"crackdask/py.typed"}
    wanted |= {name for name in files if name.startswith("crackdask/explore/page/")}
    assert {"crackdask/store/decisions.md", "crackdask/explore/page/main.js"} <= wanted
    about = {name for name in archives["wheel"] if re.match(r"crackdask-[^/]*\.dist-info/", name)}
    assert archives["wheel"] - about == wanted
    assert any(name.endswith("licenses/LICENSE") for name in about)


def test_a_source_archive_carries_what_it_takes_to_build_and_test(archives: dict[str, set[str]]) -> None:
    pages = {"README.md", "LICENSE", "CITATION.cff", "CONTRIBUTING.md", "pyproject.toml", "crackdask/py.typed"}
    others = {"tests/conftest.py", "tests/test_habits.py", "pipelines/demo.toml", "deploy/Dockerfile", ".ci/run"}
    assert pages | others <= archives["source"]
    assert [name for name in archives["source"] if re.search(r"\.py[co]$|__pycache__|\.zarr/|^\.venv/", name)] == []


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the pages of the API reference, by the module that each is of; a warning is an error."""
    pytest.importorskip("pdoc", reason="no pdoc: pip install crackdask[docs]")
    pytest.importorskip("matplotlib", reason="no matplotlib: pip install crackdask[docs]")
    if (bash := shutil.which("bash")) is None:
        pytest.skip("no bash")
    folder = tmp_path_factory.mktemp("reference")
    there = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    command = [bash, str(ROOT / ".ci" / "reference"), str(folder)]
    built = subprocess.run(command, env=there, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "warn" not in built.stderr.lower(), built.stderr
    pages = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.html")}
    return {name.replace("/", "."): path.read_text(encoding="utf-8") for name, path in pages.items()}


def test_the_api_reference_is_of_what_notebooks_call(reference: dict[str, str]) -> None:
    public = {"analyse", "cracks", "export", "figures", "lazy", "phantom", "report.page"}
    assert set(reference) == {"index", "crackdask", *(f"crackdask.{name}" for name in public)}
    offered = {page: getattr(importlib.import_module(page), "__all__", ()) for page in reference if page != "index"}
    offered |= {"crackdask.lazy": ["denoise", "open_and_close"], "crackdask.report.page": ["report"]}
    offered["crackdask"] = [name for name in crackdask.__all__ if name != "analyse"]  # a page of its own
    for page, names in offered.items():
        assert names, page
        assert [name for name in names if f'id="{name}"' not in reference[page]] == [], page


def test_the_api_reference_shows_words_and_no_markup(reference: dict[str, str]) -> None:
    for page, html in reference.items():
        prose = re.sub(r'<div class="pdoc-code codehilite">.*?</div>', "", html, flags=re.DOTALL)
        assert re.findall(r":(?:func|class|mod|meth|data|attr):", re.sub(r"<[^>]+>", "", prose)) == [], page
