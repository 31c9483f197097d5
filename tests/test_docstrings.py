"""Cross references of docstrings point to names that exist."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import pytest

import crackdask

#: `:func:`label``, `:class:`crackdask.grid.Box``, `:meth:`~Grid.blocks``, `:func:`words <name>``.
REFERENCE = re.compile(r":(?:func|class|mod|meth|attr|data|exc|obj):`(?:[^`<]*<)?~?([^`>]+)>?`")


def modules() -> list[str]:
    walked = pkgutil.walk_packages(crackdask.__path__, "crackdask.")
    return ["crackdask", *(found.name for found in walked if found.name != "crackdask.__main__")]


@cache
def resolves(target: str) -> bool:
    """Tell whether an absolute name is a module, or something of a module."""
    parts = target.split(".")
    for size in range(len(parts), 0, -1):
        try:
            here: Any = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for name in parts[size:]:
            if name in getattr(here, "__annotations__", {}):  # a field of a dataclass, without a default
                return True
            if not hasattr(here, name):
                return False
            here = getattr(here, name)
        return True
    return False


def references(module: ModuleType) -> Iterator[tuple[str, list[str]]]:
    """Yield what the docstrings of a module refer to, with the absolute names that each may mean."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        owner = f"{module.__name__}.{node.name}" if isinstance(node, ast.ClassDef) else module.__name__
        inner = [ast.get_docstring(part) for part in node.body if isinstance(part, ast.FunctionDef)]
        own = [ast.get_docstring(node), *(inner if isinstance(node, ast.ClassDef) else [])]
        for target in REFERENCE.findall("\n".join(words for words in own if words)):
            yield target, [target, f"{owner}.{target}", f"{module.__name__}.{target}"]


def stale(module: ModuleType) -> list[str]:
    return sorted({target for target, meant in references(module) if not any(map(resolves, meant))})


@pytest.mark.parametrize("name", modules())
def test_cross_references_point_to_names_that_exist(name: str) -> None:
    assert stale(importlib.import_module(name)) == []


def test_a_stale_reference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '''
class Box:
    """See :meth:`nothing`, :func:`gone`, :class:`crackdask.grid.Gone`, :func:`it <crackdask.gone.away>`."""

    def shape(self):
        """Of :class:`Box`, :class:`~crackdask.grid.Box`, :mod:`crackdask.analyse` and :class:`Grid`."""
'''
    module = importlib.import_module("crackdask.grid")
    monkeypatch.setattr(inspect, "getsource", lambda _: text)
    assert stale(module) == ["crackdask.gone.away", "crackdask.grid.Gone", "gone", "nothing"]


def test_docstrings_refer_to_many_names() -> None:
    known = [target for name in modules() for target, _ in references(importlib.import_module(name))]
    assert len(known) > 50
