"""What a person sees in the terminal: progress, tables, sizes and times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ByteSize
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from crackdask.engine.progress import BlockReport
    from crackdask.schema import UnitKey

_SECONDS_BETWEEN_LINES = 15.0


def size(count: float) -> str:
    """Return bytes as a person reads them.

    >>> size(3 * 2**30)
    '3.0 GiB'
    """
    return f"{count:.0f} bytes" if count < 1024 else ByteSize(count).human_readable(separator=" ")


def duration(seconds: float) -> str:
    """Return a time as a person reads it.

    >>> duration(75), duration(7300)
    ('1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def brief(seconds: float) -> str:
    """Return a time in one unit, for tables.

    >>> brief(73.21), brief(960), brief(7920)
    ('73.2 s', '16.0 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Bar(Progress):
    """The live lines: what is at work, and below it on what."""

    footer = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.footer, style="dim", overflow="ellipsis", no_wrap=True)


@dataclass
class _Pass:
    """How far one pass is: blocks done, those of them done now, and all; its live line if there is one."""

    what: str
    done: int
    blocks: int
    task: TaskID | None = None
    fresh: int = 0
    started: float = field(default_factory=time.monotonic)


@dataclass
class Display:
    """Progress of a run: a live line for each unit at work in a terminal, plain lines elsewhere.

    Shows the state and step at work, blocks done of all, megavoxels per second, the time left, workers and the
    dashboard's address. `voxels` are those of one state.
    """

    console: Console
    states: Sequence[str]
    voxels: int
    workers: int
    dashboard: str | None
    _bar: _Bar | None = None
    _passes: dict[UnitKey, _Pass] = field(default_factory=dict)
    _said: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Display:
        """Begin to show progress."""
        where = f", dashboard {self.dashboard}" if self.dashboard else ""
        self.console.print(f"{self._who}{where}", highlight=False)
        if self.console.is_terminal:
            self._bar = _Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bar.footer = f"{self._who}{where}"
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live line away."""
        if self._bar:
            self._bar.stop()

    def begin(self, unit: UnitKey, pass_: str, done: int, blocks: int) -> None:
        """Say that a pass begins, of which some blocks may be done."""
        self.leave(unit)
        what = self._named(unit) + (f" ({pass_})" if pass_ != unit.step else "")
        self._passes[unit] = at = _Pass(what, done, blocks)
        if self._bar:
            at.task = self._bar.add_task(what, total=blocks, completed=done, rate="")
        elif done:
            self.console.print(f"{what}: {done} of {blocks} blocks were done before")

    def advance(self, unit: UnitKey, report: BlockReport) -> None:
        """Say that a block is done."""
        at = self._passes[unit]
        at.done += 1
        at.fresh += 1
        passed = max(time.monotonic() - at.started, 1e-3)
        rate = f"{at.fresh * self.voxels / at.blocks / passed / 1e6:.1f} Mvoxel/s"
        if self._bar and at.task is not None:
            self._bar.update(at.task, completed=at.done, rate=rate)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            left = duration(passed / at.fresh * (at.blocks - at.done))
            self.console.print(f"{at.what}: {at.done} of {at.blocks} blocks, {rate}, {left} left")

    def failed(self, unit: UnitKey, pass_: str, number: int, error: BaseException, again: bool) -> None:
        """Say that a block failed, and whether it is tried again."""
        what = "is tried again" if again else "is set aside"
        where = f"{self._named(unit)} ({pass_}) block {number}"
        why = escape(f"{type(error).__name__}: {error}")
        self.console.print(f"[yellow]{where} {what}:[/] {why}", highlight=False)

    def end(self, unit: UnitKey, seconds: float) -> None:
        """Say that a unit is done."""
        self.leave(unit)
        self._said = time.monotonic()
        self.console.print(f"[green]done[/] {self._named(unit)}  {duration(seconds)}", highlight=False)

    def leave(self, unit: UnitKey) -> None:
        """Take a unit's live line away."""
        at = self._passes.pop(unit, None)
        if self._bar and at and at.task is not None:
            self._bar.remove_task(at.task)

    def warn(self, about: UnitKey | str, words: str) -> None:
        """Say what the user should know of a unit's result, or of something else that has a name."""
        name = about if isinstance(about, str) else self._named(about)
        self.console.print(f"[yellow]note[/] {name}: {escape(words)}", highlight=False)

    def _named(self, unit: UnitKey) -> str:
        return unit.step if unit.step == "track" else escape(f"{unit.step} {self.states[unit.state]}")

    @property
    def _who(self) -> str:
        return f"{self.workers} worker{'s' * (self.workers > 1)}"


@contextmanager
def slabs(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how many slabs of scans are made: a live line in a terminal, plain lines now and then elsewhere."""
    bar = Progress(
        TextColumn("projecting"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True,
    )  # fmt: skip
    said, task = time.monotonic(), None

    def show(done: int, total: int) -> None:
        nonlocal said, task
        if console.is_terminal:
            if task is None:
                bar.start()
                task = bar.add_task("", total=total)
            bar.update(task, completed=done)
        elif time.monotonic() - said > _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            console.print(f"projecting: {done} of {total} slabs")

    try:
        yield show
    finally:
        bar.stop()


def facts(rows: Sequence[Sequence[str]]) -> Table:
    """Return a plain table of names and what holds for them."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table


def columns(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a plain table; columns after the first are numbers and stand to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
