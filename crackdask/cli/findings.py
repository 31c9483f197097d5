"""How findings are told in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich.markup import escape

from crackdask.analysis.findings import Finding, parted, sentences
from crackdask.cli.common import out

#: Characters of a line of prose, beside its indent.
_WIDTH = 74


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what should be known before a number is believed, a paragraph for each kind of finding, notes last."""
    warnings, notes = parted(findings)
    for heading, mark, those in (
        ("to know before you trust a number:", "[yellow]![/]", warnings),
        ("seen, and taken care of:", "-", notes),
    ):
        if those:
            out.print(f"\n[bold]{heading}[/]")
        for sentence in sentences(those):
            first, *more = wrap(sentence, _WIDTH)
            out.print("\n".join([f"  {mark} {escape(first)}", *(f"    {escape(line)}" for line in more)]))
