"""Arguments and options that several commands take, each spelled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from crackdask.recipe.site import kinds
from crackdask.schema import STEPS

if TYPE_CHECKING:
    from crackdask.cluster.tls import Trust

R = TypeVar("R")
_WHERE = "Where the work runs"
_BEAMLINE = "At the beamline"
_RUNNING = "A scheduler that runs already"


def on_disk(path: Path | None) -> Path | None:
    """Refuse a URL for what is written or read as one file of a disk; a callback of options."""
    if path is not None and re.match(r"\w+:/", str(path)):
        raise typer.BadParameter("this lies on a disk; scans and stores may be in a bucket, so name a file or folder")
    return path


def starting(words: tuple[str, ...]) -> Callable[[str], list[str]]:
    """Return what completes a value in the shell: those of some words that begin like it."""

    def completed(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return completed


StoreName = Annotated[
    str, typer.Argument(metavar="STORE", help="The store, NAME.zarr or s3://BUCKET/NAME.zarr.", show_default=False)
]
NewStore = Annotated[
    str,
    typer.Option(
        "--store",
        metavar="STORE",
        help="Where the store is or will be, NAME.zarr or s3://BUCKET/NAME.zarr.",
        show_default=False,
    ),
]
RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.", show_default=False, callback=on_disk)
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        metavar="STEP",
        help=f"Last step to do: {', '.join(STEPS)}. By default all are done.",
        autocompletion=starting(STEPS),
        show_default=False,
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help=f"{', '.join(kinds())}, or a scheduler's address: tls://host:port, tcp://host:port. "
        "By default what the recipe says under \\[cluster], or local.",
        autocompletion=starting(kinds()),
        show_default=False,
        rich_help_panel=_WHERE,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="How many workers; by default one for each core here.", rich_help_panel=_WHERE
    ),
]
SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--cluster-config",
        metavar="FILE",
        help="A TOML file of your own with keys of the recipe's \\[cluster], such as queue; they go over it.",
        show_default=False,
        callback=on_disk,
        rich_help_panel=_WHERE,
    ),
]


def check_step(until: str | None) -> None:
    """Refuse a value of --until that is no step."""
    if until is not None and until not in STEPS:
        raise typer.BadParameter(f"{until!r} is no step; the steps are {', '.join(STEPS)}", param_hint="--until")


@dataclass(frozen=True)
class ClusterOptions:
    """Which workers a command is to use; `expanded` makes an option of each field."""

    cluster: ClusterOption = None
    workers: WorkersOption = None
    cluster_config: SiteOption = None
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Certificate (PEM) of the authority that a tls:// scheduler trusts. By default, as for the next two, "
            "what dask's own configuration says.",
            show_default=False,
            rich_help_panel=_RUNNING,
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Our own certificate (PEM).", show_default=False, rich_help_panel=_RUNNING),
    ] = None
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The key of that certificate (PEM).", show_default=False, rich_help_panel=_RUNNING
        ),
    ] = None
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Speak without TLS to tcp:// on another machine; anyone on the way can then run code there and here.",
            show_default=False,
            rich_help_panel=_RUNNING,
        ),
    ] = False

    @property
    def trust(self) -> Trust:
        """How to speak to a scheduler that runs already."""
        from crackdask.cluster.tls import Trust

        return Trust(self.tls_ca, self.tls_cert, self.tls_key, self.insecure)


@dataclass(frozen=True)
class WatchOptions:
    """Whether a run waits for scans that are yet to come; `expanded` makes an option of each field."""

    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Wait for scans that are not there yet: run, and write the report, whenever one more is.",
            rich_help_panel=_BEAMLINE,
        ),
    ] = False
    settle: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=86_400,
            metavar="SECONDS",
            help="For how long nothing of a scan must have changed before it counts as there; by default 30.",
            show_default=False,
            rich_help_panel=_BEAMLINE,
        ),
    ] = None
    until_state: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="End when this state is done; by default when all are.",
            show_default=False,
            rich_help_panel=_BEAMLINE,
        ),
    ] = None
    on_state: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Have the shell do this once for each finished state, whose name is in CRACKDASK_STATE. It may stand "
            "as on_state in the file of --cluster-config, never in a recipe.",
            show_default=False,
            rich_help_panel=_BEAMLINE,
        ),
    ] = None

    def check(self, until: str | None, states: Sequence[str]) -> None:
        """Refuse what would do nothing, and a state that the recipe has not."""
        for name, value in (("--settle", self.settle), ("--until-state", self.until_state)):
            if value is not None and not self.watch:
                raise typer.BadParameter("this goes with --watch", param_hint=name)
        if self.watch and until is not None:
            raise typer.BadParameter("a run that watches does all steps; leave out --until", param_hint="--watch")
        if self.until_state is not None and self.until_state not in states:
            names = ", ".join(map(repr, states))
            raise typer.BadParameter(
                f"no state is named {self.until_state!r}; there are {names}", param_hint="--until-state"
            )

    @property
    def words(self) -> list[str]:
        """The same options, as a job is given them."""
        given = [("--settle", self.settle), ("--until-state", self.until_state), ("--on-state", self.on_state)]
        return ["--watch"] * self.watch + [str(w) for pair in given if pair[1] is not None for w in pair]


def expanded(command: Callable[..., R]) -> Callable[..., R]:
    """Return a command that takes the fields of a dataclass where the given one takes the dataclass.

    Each field becomes an option of its name, with what its annotation says of it.
    """
    hints = get_type_hints(command, include_extras=True)
    grouped = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    parameters = signature(command).parameters
    taken = [
        parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY)
        for name, parameter in parameters.items()
        if name not in grouped
    ]
    for kind in grouped.values():  # after the command's own: so they stand in its help
        inner = get_type_hints(kind, include_extras=True)
        taken += [
            Parameter(each.name, Parameter.KEYWORD_ONLY, default=each.default, annotation=inner[each.name])
            for each in fields(kind)
        ]

    @wraps(command)
    def called(**values: Any) -> R:
        for name, kind in grouped.items():
            values[name] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
        return command(**values)

    called.__signature__ = signature(command).replace(parameters=taken)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in taken}
    return called
