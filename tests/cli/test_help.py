"""Help, completion and the names of commands; what they load, and what they do not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

import crackdask
from crackdask.cli.common import COMMANDS as KNOWN
from crackdask.cli.common import app
from tests.support.console_words import words
from tests.support.tiny import Tiny
from tests.support.tiny import crackdask as command

COMMANDS = (
    "demo", "init", "check", "preview", "run", "warm", "submit", "status", "levels", "cracks", "report",
    "explore", "export",
)  # fmt: skip


def test_help_names_the_commands_in_the_order_of_use() -> None:
    said = command("--help")
    assert said.code == 0
    found = re.findall(r"^│ (\w+) ", said.out, re.MULTILINE)
    assert [name for name in found if name in COMMANDS] == list(COMMANDS)


def test_no_command_shows_the_help() -> None:
    said = command()
    assert said.code == 2
    assert "Usage:" in said.out + said.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    said = command(name, "--help")
    assert said.code == 0
    assert re.search(rf"Usage: \w+ {name} ", said.out)
    assert max(map(len, said.out.splitlines())) <= 80
    assert re.search(r"--help.*Show this message and exit\.", words(said.out))


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_h_is_help(name: str) -> None:
    words_of = [name] if name else []
    assert command(*words_of, "-h") == command(*words_of, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_examples_that_the_command_takes(name: str) -> None:
    _, _, tail = command(name, "--help").out.partition("For example")
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    assert lines
    assert {line.split()[:2] == ["crackdask", name] for line in lines} == {True}
    for line in lines:
        group = typer.main.get_group(app)
        with group.make_context("crackdask", shlex.split(line)[1:]) as context:
            _, known, rest = group.resolve_command(context, shlex.split(line)[1:])
            assert known is not None, line
            with known.make_context(name, rest, parent=context) as taken:
                assert taken.params, line


def test_options_stand_in_groups() -> None:
    groups = {name: re.findall(r"^╭─ (.+?) ─+╮$", command(name, "--help").out, re.MULTILINE) for name in COMMANDS}
    place, running = "Where the work runs", "A scheduler that runs already"
    assert groups["run"] == ["Arguments", "Options", place, "What is told of it", "At the beamline", running]
    assert groups["export"] == ["Arguments", "Options", "Tables", "Images", place, running]
    assert groups["cracks"] == ["Arguments", "Options", place, running]
    assert groups["status"] == ["Arguments", "Options"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--settle", "5"], "--settle: this goes with --watch"),
        (["--until-state", "4.2 V"], "--until-state: this goes with --watch"),
        (["--watch", "--until", "mask"], "a run that watches does all steps; leave out --until"),
        (["--watch", "--until-state", "4.3 V"], "no state is named '4.3 V'; there are 'pristine', '4.2 V'"),
        (["--watch", "--settle", "0"], "Input should be greater than or equal to 0.1"),
    ],
)
def test_options_of_a_watch_that_would_do_nothing_are_refused(tiny: Tiny, words: list[str], told: str) -> None:
    for command_ in ("run", "submit"):
        said = tiny.crackdask(command_, tiny.recipe, "--store", tiny.store, "--cluster", "slurm", *words)
        assert said.code == 2
        assert told in re.sub(r"[\s│]+", " ", said.err)
    assert not tiny.store.exists()


def test_commands_for_a_cluster_take_the_same_options_for_it() -> None:
    helps = {name: command(name, "--help").out for name in ("run", "cracks", "export")}
    for option in ("--cluster", "--workers", "--cluster-config", "--tls-ca", "--tls-cert", "--tls-key", "--insecure"):
        for said in helps.values():
            assert re.search(rf"^│ +{option} ", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("", list(COMMANDS)),
        ("s", ["submit", "status"]),
        ("run --unt", ["--until", "--until-state"]),
        ("run recipe.toml --until m", ["mask", "measure"]),
        ("check recipe.toml --cluster s", ["slurm", "sge", "synchronous"]),
        ("export x.zarr --format x", ["xlsx"]),
        ("cracks x.zarr --tls", ["--tls-ca", "--tls-cert", "--tls-key"]),
    ],
)
def test_the_shell_completes(line: str, wanted: list[str]) -> None:
    typed = f"crackdask {line}"
    environment = {
        "_CRACKDASK_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
    }
    said = CliRunner().invoke(app, [], prog_name="crackdask", env=environment)
    assert said.output.split() == wanted


def test_completing_the_name_of_a_command_loads_none() -> None:
    code = (
        "import sys; from crackdask.cli import app\n"
        "try: app(prog_name='crackdask')\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    environment = {"_CRACKDASK_COMPLETE": "complete_bash", "COMP_WORDS": "crackdask s", "COMP_CWORD": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, check=False, capture_output=True, text=True
    )
    assert said.stdout.split() == ["submit", "status"]
    assert not {"numba", "zarr", "dask", "scipy", "crackdask.cli.submit"} & set(said.stderr.split())


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    for name in KNOWN:
        import_module(f"crackdask.cli.{name}")
    commands = [info.callback for info in app.registered_commands if info.callback]
    first = {command.__name__: str(command.__doc__).splitlines()[0] for command in commands}
    assert first == KNOWN


@pytest.mark.parametrize(
    ("what", "without"),
    [
        ("crackdask", {"numpy", "numba", "zarr", "dask"}),
        ("crackdask.cli", {"numba", "zarr", "dask", "scipy"}),
        ("crackdask.cli.status", {"xarray", "pandas", "dask.array", "scipy.ndimage", "distributed"}),
        ("crackdask.cli.check", {"xarray", "pandas", "dask.array", "scipy.ndimage", "distributed"}),
        ("crackdask.cli.run", {"xarray", "pandas", "dask.array", "scipy.ndimage", "matplotlib", "skimage"}),
    ],
)
def test_what_is_not_loaded(what: str, without: set[str]) -> None:
    asked = [sys.executable, "-c", f"import sys, {what}; print(*sys.modules)"]
    loaded = set(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split())
    assert what in loaded
    assert not loaded & without


def test_what_the_package_offers_stands_for_the_modules_of_that_name() -> None:
    from crackdask.lazy import mask

    assert crackdask.mask is mask
    assert {"analyse", "denoise", "label", "mask", "measure", "open", "transfer"} <= set(dir(crackdask))
    assert all(callable(getattr(crackdask, name)) for name in crackdask.__all__ if name != "analyse")
    with pytest.raises(AttributeError, match="module 'crackdask' has no attribute 'labeled'"):
        crackdask.labeled  # noqa: B018


def test_version() -> None:
    assert command("--version").out == f"crackdask {crackdask.__version__}\n"
