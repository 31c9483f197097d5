"""Text in cells: what a spreadsheet would take for a formula is made text that it shows."""

from __future__ import annotations

from typing import Any

import pandas as pd

#: What a cell begins with that Excel, LibreOffice or Google Sheets runs, or that hides it from whoever looks for it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def shown_as_text(value: Any) -> Any:
    """Return the value of a cell; text that would be run as a formula begins with an apostrophe.

    >>> shown_as_text("=1+1"), shown_as_text("4.2 V"), shown_as_text(-0.5)
    ("'=1+1", '4.2 V', -0.5)
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def text_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for CSV; columns of numbers are left as they are."""
    text = [not pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    columns = [table.iloc[:, k].map(shown_as_text) if is_text else table.iloc[:, k] for k, is_text in enumerate(text)]
    told = pd.concat(columns, axis=1) if columns else table
    return told.set_axis([shown_as_text(name) for name in table.columns], axis=1)
