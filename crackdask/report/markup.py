"""The words around figures as HTML: how pages begin and look, their contents, and how a figure stands on one."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crackdask.figures import Panel

#: How pages begin that ask for nothing from outside.
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
"""
# Figures stay on white paper in the dark: tomograms and colours would mean something else inverted.
_PAGE = (
    HEAD
    + """<style>
:root {{ color-scheme: light dark; --ink: #1b1d20; --ground: #ffffff; --soft: #44484d; --line: #d5d9de; --link: #0b57a4;
  --warned: #fdf1e9; --said: #f2f3f4; }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ --ink: #e6e8eb; --ground: #15181b; --soft: #aeb5bd; --line: #3a4149; --link: #8ec5f0;
    --warned: #3a2415; --said: #23282d; }}
  .picture {{ filter: brightness(.9); }}
}}
body {{ font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }}
a {{ color: var(--link); }}
h1, h2 {{ line-height: 1.2; font-weight: 600; }}
h2 {{ margin-top: 2.5rem; font-size: 1.2rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; }}
dt {{ font-weight: 600; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
nav {{ box-sizing: border-box; border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem; margin: 1.5rem 0;
  font-size: .9rem; }}
nav h2 {{ margin: 0 0 .3rem; font-size: 1rem; }}
nav ul {{ margin: 0; padding: 0; list-style: none; columns: 17rem; }}
nav li {{ break-inside: avoid; padding: .1rem 0; }}
nav a {{ text-decoration: none; }}
nav a:hover, nav a:focus {{ text-decoration: underline; }}
.warning {{ border-left: 4px solid #D55E00; background: var(--warned); padding: .5rem 1rem; margin: .6rem 0; }}
.missing, .note {{ border-left: 4px solid #5F6368; background: var(--said); padding: .5rem 1rem; margin: .6rem 0; }}
figure {{ margin: 0; break-inside: avoid; }}
figure img {{ max-width: 100%; height: auto; background: #fff; display: block; }}
figcaption, footer {{ color: var(--soft); font-size: .9rem; }}
.picture {{ overflow-x: auto; border-radius: 4px; margin-bottom: .4rem; width: fit-content;
  max-width: 100%; }}
.explore {{ color: var(--soft); font-size: .9rem; margin: .3rem 0; }}
code {{ overflow-wrap: anywhere; }}
.explore code {{ background: var(--said); padding: .1rem .35rem; border-radius: 3px; user-select: all; }}
.served .typed, html:not(.served) .opened {{ display: none; }}
@media (max-width: 40rem) {{ .picture img {{ max-width: none; }} }}
@media (max-width: 40rem) {{ dl {{ grid-template-columns: 1fr; gap: 0; }} dd {{ margin-bottom: .6rem; }} }}
@media screen and (min-width: 82rem) {{
  body {{ max-width: 60rem; padding-left: 19rem; }}
  nav {{ position: fixed; top: 2rem; left: max(1rem, calc(50% - 39rem)); width: 17rem; max-height: calc(100vh - 4rem);
    overflow-y: auto; margin: 0; }}
  nav ul {{ columns: auto; }}
}}
@media print {{ nav, .explore {{ display: none; }} }}
</style>
</head>
<body>
<p class="explore opened"><a href="../">back to the explorer</a></p>
<h1>{title}</h1>
<dl>
{facts}
</dl>
<nav aria-label="contents">
<h2>Contents</h2>
<ul>
{contents}
</ul>
</nav>
{warnings}
{notes}
{panels}
<footer><p>crackdask {version}. Figures as SVG and PNG, and the numbers behind each as CSV, are in the folder
<code>figures</code> beside this page. {definition}
Parks et al. (2025): EES Batteries 1, 482, doi 10.1039/d5eb00008d.</p></footer>
</body>
</html>
"""
)
#: Of the section that tells what is not drawn, of the first warning, and of the first note.
_MISSING, _WARNED, _NOTED = "not-drawn", "warnings", "notes"


def page(
    title: str,
    facts: Iterable[tuple[str, str]],
    warnings: Sequence[str],
    notes: Sequence[str],
    drawn: Mapping[Panel, str],
    missing: Mapping[Panel, str],
    version: str,
    definition: str,
) -> str:
    """Return a page of figures, HTML.

    Parameters
    ----------
    title
        Its heading.
    facts
        What it is about: a word, and what there is to say of it.
    warnings
        What the data does not carry.
    notes
        What was seen, and taken care of.
    drawn
        Figures in their order, with what `section` returned.
    missing
        Figures that could not be drawn, and why.
    version
        Of the package that made the store.
    definition
        How its central number is defined.
    """
    contents = [(panel.name, panel.title) for panel in drawn]
    if notes:
        contents.insert(0, (_NOTED, f"Seen, and taken care of ({len(notes)})"))
    if warnings:
        contents.insert(0, (_WARNED, f"Warnings ({len(warnings)})"))
    if missing:
        contents.append((_MISSING, "What this store cannot show"))
    return _PAGE.format(
        title=escape(title),
        facts="\n".join(f"<dt>{escape(what)}</dt><dd>{escape(words)}</dd>" for what, words in facts),
        contents="\n".join(f'<li><a href="#{escape(name)}">{escape(words)}</a></li>' for name, words in contents),
        warnings=_paragraphs(warnings, "warning", _WARNED),
        notes=_paragraphs(notes, "note", _NOTED),
        panels="\n".join([*drawn.values(), *_not_drawn(missing)]),
        version=escape(version),
        definition=escape(definition),
    )


def _paragraphs(sentences: Sequence[str], kind: str, first: str) -> str:
    """Return a paragraph for each of some sentences; `first` is what links to the first of them name."""
    return "\n".join(
        f'<p class="{kind}"{f" id={first}" if k == 0 else ""}>{escape(words)}</p>' for k, words in enumerate(sentences)
    )


def section(panel: Panel, svg: bytes, explored: str, store: str, listed: Sequence[tuple[str, str]] = ()) -> str:
    """Return a figure with its words, HTML.

    Parameters
    ----------
    panel
        What it is.
    svg
        The picture.
    explored
        What shows the same in the explorer, as its address tells it; "" for nothing.
    store
        What the explorer is to be told to open; "" where that is not known.
    listed
        What stands below the picture: words, and what there is to say of each.
    """
    data = base64.b64encode(svg).decode("ascii")
    return (
        f'<section id="{escape(panel.name)}">\n<h2>{escape(panel.title)}</h2>\n<figure>\n'
        f'<div class="picture"><img alt="{escape(panel.title)}" src="data:image/svg+xml;base64,{data}"></div>\n'
        f"<figcaption>{escape(panel.caption)} {_in_the_paper(panel)}"
        f'<a href="figures/{escape(panel.name)}.csv">Numbers (CSV)</a></figcaption>\n'
        f"{_listed(listed)}{_explored(explored, store) if explored else ''}</figure>\n</section>"
    )


def _listed(rows: Sequence[tuple[str, str]]) -> str:
    """Return words and what there is to say of each."""
    items = "\n".join(f"<dt>{escape(what)}</dt><dd>{escape(words)}</dd>" for what, words in rows)
    return f"<dl>\n{items}\n</dl>\n" if rows else ""


def _explored(explored: str, store: str) -> str:
    """Return how to see the same in the explorer: what to type, and, where it shows this page itself, a link."""
    label = re.search(r"\bparticle=(\d+)", explored)
    what = f"particle {label[1]}" if label else "the same"
    opened = f'<p class="explore opened"><a href="../#{escape(explored)}">Open {what} in the explorer</a></p>\n'
    if not store:
        return opened
    command = f"crackdask explore {shlex.quote(store)} --show {shlex.quote(explored)}"
    return f'<p class="explore typed">To look at {what}: <code>{escape(command)}</code></p>\n{opened}'


def _in_the_paper(panel: Panel) -> str:
    """Say which figure of the paper shows the same, if one does."""
    number = re.match(r"(\d)([a-z]+)_", panel.name)
    return f"Compare Fig. {number[1]}{', '.join(number[2])} of Parks et al. (2025). " if number else ""


def _not_drawn(missing: Mapping[Panel, str]) -> list[str]:
    """Return what this store cannot show, at the end of the page, so that figures stand together."""
    if not missing:
        return []
    words = [
        f'<p class="missing" id="{escape(panel.name)}">Not drawn: <b>{escape(panel.title)}</b>: {escape(why)}</p>'
        for panel, why in missing.items()
    ]
    return [f'<section id="{_MISSING}">\n<h2>What this store cannot show</h2>', *words, "</section>"]
