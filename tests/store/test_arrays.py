"""Arrays of a store that are written part by part hold the same bytes as those that are written at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from crackdask.store.arrays import write_array, write_words


@pytest.mark.parametrize("rows", [0, 5, 2_000_000])
def test_words_are_written_as_if_all_at_once(tmp_path: Path, rows: int) -> None:
    group = zarr.open_group(str(tmp_path), mode="w", zarr_format=3)
    words, counts = ("pristine", "4.2 V", "none", "4.3 \N{DEGREE SIGN}"), (rows // 3, rows // 2, 0, rows // 7)
    values = np.repeat(np.array(words), counts)
    write_array(group, "at_once", values, ("contact",), {"units": "1"})
    write_words(group, "by_chunks", words, counts, ("contact",), {"units": "1"})
    once, parts = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("at_once", "by_chunks")
    )
    assert once == parts
    assert len(once) > 2 or rows < 1e6, "all rows fit one chunk"
    held: Any = zarr.open_array(str(tmp_path / "by_chunks"), mode="r")
    assert held[...].tolist() == values.tolist()
