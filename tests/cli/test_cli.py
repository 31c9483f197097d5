"""The commands as a stranger types them: messages, exit codes, what a terminal shows."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from crackdask import cli
from crackdask.cli import check, demonstration
from crackdask.cli.console import Display, columns, duration, size
from crackdask.engine.pass_runner import BlockReport
from crackdask.phantom import Phantom, hard, states
from crackdask.recipe.recipe import RecipeError
from crackdask.schema import UnitKey
from tests.support.console_words import words
from tests.support.tiny import Tiny, assert_same_store
from tests.support.tiny import crackdask as command

# ---------------------------------------------------------------- mistakes on the command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["run", "r.toml"], "Missing option '--store'"),
        (["run"], "Missing argument"),
        (["check", "none.toml"], "there is no recipe none.toml; `crackdask init SCAN... -o none.toml` writes one"),
        (["run", "none.toml", "--store", "x.zarr"], "there is no recipe none.toml"),
        (["run", "r.toml", "--store", "x.zarr", "--workers", "0"], "Invalid value for '--workers'"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = command(*arguments)
    assert found.code == 2
    assert said in words(found.err)
    assert not list(tmp_path.iterdir())


def test_a_step_that_does_not_exist(tiny: Tiny) -> None:
    said = tiny.run("--until", "maske")
    assert said.code == 2
    assert (
        "'maske' is no step; the steps are reconstruct, read, tomograms, register, grey, denoise, mask, labels"
        in words(said.err)
    )
    assert not tiny.store.exists()


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ("slrum", "unknown cluster 'slrum'; known: local"),
        ("tcp://127.0.0.1:1", "no scheduler answers at tcp://127.0.0.1:1"),
    ],
)
def test_no_such_cluster(tiny: Tiny, cluster: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "://" in cluster:
        monkeypatch.setattr("crackdask.cluster.existing.Client", _refusing)
    found = tiny.run("--cluster", cluster)
    assert found.code == 2
    assert said in words(found.err)
    assert not tiny.store.exists()


def _refusing(*_: Any, **__: Any) -> None:
    raise OSError("Timed out trying to connect")


def test_ctrl_c(tiny: Tiny, finished: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("crackdask.engine.step_runners.threshold_of", pressed)
        said = tiny.run()
    assert said.code == 130
    assert said.err == "stopped; the finished blocks are kept, and the same command continues\n"
    assert tiny.run().code == 0
    assert_same_store(tiny.store, finished.store)


# ---------------------------------------------------------------- check and run


def test_check_prints_the_plan_and_makes_nothing(tiny: Tiny) -> None:
    said = command("check", tiny.recipe, "--workers", "3")
    assert said.code == 0
    told = dict(re.split(r"  +", line, maxsplit=1) for line in said.out.splitlines() if "  " in line.strip())
    for name, value in {
        "states": "2, reference 'pristine'",
        "stored volume (z, y, x)": "20 x 28 x 32 voxels, uint16 scans",
        "blocks": "8 a state of 16 x 16 x 16 voxels",
        "scans to read": "70.0 KiB",
    }.items():
        assert told[name].strip() == value
    assert int(told["tasks"]) > 100
    assert "of 2.0 GiB" in told["memory, each worker"]
    assert "on 3 workers" in told["likely time"]
    assert said.out.endswith("the recipe is valid\n")
    assert {path.name for path in tiny.folder.iterdir()} == {"scans", "recipe.toml"}


def test_run_ends_with_what_was_found_and_what_to_type_next(tiny: Tiny) -> None:
    tiny.store = tiny.folder / "my store.zarr"
    said = tiny.run()
    assert said.code == 0
    assert "19 steps done in" in said.out
    heads = "state voltage particles diameter um mean grey residual voxels clipped"
    assert heads in words(said.out)
    assert re.search(r"pristine +3\.00 +3 +4\.99 +\d+\.\d\d +0\.000 +\d+\.\d\d%\n", said.out)
    assert "3 particles found, 3 tracked through all states" in said.out
    tail = [line.strip() for line in said.out.splitlines()[-6:]]
    names = ("status", "cracks", "report", "explore", "export")
    assert tail[:5] == [f"crackdask {command} '{tiny.store}'" for command in names]
    for line in (tail[0], tail[4]):
        assert command(*shlex.split(line)[1:]).code == 0
    name, option, code = shlex.split(tail[5])
    assert (name, option) == ("python", "-c")
    assert repr(str(tiny.store)).strip("'") in code
    exec(code, {})  # what is to be copied works
    assert "nothing to do" in tiny.run().out
    assert "everything up to grey is done already; nothing to do" in tiny.run("--until", "grey").out


def test_paths_that_rich_would_take_for_colours(tiny: Tiny) -> None:
    tiny.store = tiny.folder / "[red]x.zarr"
    said = tiny.run()
    assert f"crackdask status '{tiny.store}'" in said.out
    assert f"the store is {tiny.store}\n" in said.out
    assert f"{tiny.store}: everything is done already" in tiny.run().out
    assert f"{tiny.store} (tiny): complete" in command("status", tiny.store).out
    assert command("export", tiny.store).out.startswith(f"{tiny.folder / '[red]x-export'}: ")


def test_states_with_names_that_rich_would_take_for_colours(tiny: Tiny) -> None:
    tiny.content["states"][1]["name"] = "[red]4 V[/]"
    said = tiny.run()
    assert said.code == 0
    assert "done grey [red]4 V[/]  " in said.out
    assert re.search(r"^\[red\]4 V\[/\] +4\.20", said.out, re.MULTILINE)
    assert command("status", tiny.store).code == 0


# ---------------------------------------------------------------- the demo


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Phantom(shape=(32, 48, 48), states=states(2), seed=3, max_shift=1.0, radius_median=5.0,
                    radius_range=(4.0, 7.0))  # fmt: skip
    monkeypatch.setattr(demonstration, "DEMO", small)
    store = tmp_path / "demo.zarr"
    prepare = demonstration.prepare

    def quickly(*arguments: Any) -> Path:
        recipe = prepare(*arguments)
        if "[register]" not in recipe.read_text():
            recipe.write_text(recipe.read_text() + '\n[register]\ntransform = "none"\n[denoise]\nmethod = "none"\n')
        return recipe

    monkeypatch.setattr(demonstration, "prepare", quickly)
    for again in (False, True):
        said = command("demo", "--store", store, "--cluster", "synchronous")
        assert said.code == 0, said.err
        assert ("nothing to do" in said.out) == again
        assert "more cracked than when pristine:" in said.out
        assert "state found programmed" in words(said.out)
        assert f"the report is {tmp_path / 'demo-report' / 'report.html'}\n" in said.out
        assert f"the store is {store}" in said.out
        wanted = [f"  crackdask {command} {store}" for command in ("status", "cracks", "report", "explore", "export")]
        assert "\n".join(wanted) in said.out
        assert said.out.endswith(f"to look at it in a browser, type\n  crackdask explore {store}\n")
        assert [line for line in said.out.splitlines() if len(line) >= 80 and str(tmp_path) not in line] == []
    assert "<h1>crackdask report: phantom</h1>" in (tmp_path / "demo-report" / "report.html").read_text(
        encoding="utf-8"
    )


def test_the_hard_demo_has_scans_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(demonstration, "DEMO", Phantom(shape=(24, 32, 32), states=states(2)))
    monkeypatch.setattr(demonstration, "HARD", hard((24, 32, 32), states(2)))
    plain, altered = (demonstration.prepare(tmp_path / "demo.zarr", 1, said.append, kind) for kind in ("plain", "hard"))
    assert (plain.parent.name, altered.parent.name) == ("demo-scans", "demo-hard-scans")
    assert demonstration.prepare(tmp_path / "demo.zarr", 1, said.append, "hard") == altered
    assert said[-1] == f"the scans are there already: {altered.parent}"
    truths = [pd.read_parquet(one.parent / "truth/particles.parquet") for one in (plain, altered)]
    assert [truth.displacement_z.any() for truth in truths] == [False, True]


# ---------------------------------------------------------------- progress


def shown(terminal: bool, width: int = 80) -> tuple[Display, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=width, highlight=False, color_system=None)
    return Display(console, ["pristine", "4.2 V"], 8_000_000, 4, "http://127.0.0.1:8787/status"), stream


def play(display: Display) -> None:
    with display:
        unit = UnitKey("transfer", 1)
        display.begin(unit, "saddles", 2, 8)
        for number in range(2, 6):
            display.advance(unit, BlockReport(number, 0.1, 1, 1, 1))
        display.failed(unit, "saddles", 6, ValueError("[x]"), again=True)
        if display._bar:
            display._bar.refresh()
        display.warn(unit, "beware")
        display.end(unit, 75.0)


def test_progress_in_a_terminal_is_one_live_line() -> None:
    display, stream = shown(terminal=True)
    play(display)
    text = stream.getvalue()
    assert re.search(r"transfer 4\.2 V \(saddles\) .*6/8 .*Mvoxel/s .*(:|-)", text)
    assert "4 workers, dashboard http://127.0.0.1:8787/status" in text
    assert "done transfer 4.2 V  1 min 15 s" in text
    assert "transfer 4.2 V (saddles) block 6 is tried again: ValueError: [x]" in text
    assert "note transfer 4.2 V: beware" in text


def test_progress_elsewhere_is_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crackdask.cli.console._SECONDS_BETWEEN_LINES", 0.0)
    display, stream = shown(terminal=False)
    play(display)
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert lines[0] == "4 workers, dashboard http://127.0.0.1:8787/status"
    assert lines[1] == "transfer 4.2 V (saddles): 2 of 8 blocks were done before"
    assert re.fullmatch(r"transfer 4\.2 V \(saddles\): 3 of 8 blocks, [\d.]+ Mvoxel/s, [\d.]+ (s|min.*) left", lines[2])


def test_words_for_sizes_and_times() -> None:
    assert [size(n) for n in (0, 1023, 1536, 2**31)] == ["0 bytes", "1023 bytes", "1.5 KiB", "2.0 GiB"]
    assert [duration(s) for s in (0.04, 9.94, 59.4, 75, 7300)] == ["0.0 s", "9.9 s", "59 s", "1 min 15 s", "2 h 1 min"]


def test_tables_do_not_take_names_for_markup() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(columns("", ["state"], [["[red]x"]]))
    assert "[red]x" in stream.getvalue()


def test_the_entry_point(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["crackdask", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code


def test_a_mistake_in_the_message_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> None:
    def wrong(*_: Any, **__: Any) -> None:
        raise RecipeError("states[1].voltage: [bold]not markup[/]")

    monkeypatch.setattr(check, "checked", wrong)
    assert command("check", tiny.recipe).err == "error: states[1].voltage: [bold]not markup[/]\n"
