"""`check` tells all mistakes at once: a scan that is not there hides none of the others, nor they it."""

from __future__ import annotations

import re

from tests.support.tiny import Tiny


def test_check_tells_of_an_absent_scan_together_with_what_is_wrong_with_others(tiny: Tiny) -> None:
    tiny.content["states"] += [
        {"name": "3.6 V", "voltage": 3.6, "step": "discharge", "cycle": 1, "source": "scans/later"},
        {"name": "3.0 V", "voltage": 3.0, "step": "discharge", "cycle": 1, "source": "scans/d"},
    ]
    tiny.write_slices(tiny.folder / "scans" / "d", tiny.scan(4, (19, 28, 32)))
    tiny.change("crop", z=[0, 30])
    said = tiny.crackdask("check", tiny.recipe)
    words = re.sub(r"\s+", " ", said.out + said.err)
    assert said.code == 2
    assert "not there yet: 3.6 V; `crackdask run RECIPE --store STORE --watch` waits for them" in words
    assert "1 of 4 scans cannot be used states[2].source (3.6 V)" in words
    assert "the scans have different shapes (z, y, x): pristine: 20 x 28 x 32 4.2 V: 20 x 28 x 32 3.0 V: 19" in words


def test_mistakes_of_the_recipe_do_not_hide_that_a_scan_is_absent(tiny: Tiny) -> None:
    tiny.content["states"][1]["source"] = "scans/later"
    tiny.content["states"][0] |= {"source": 7}
    tiny.change("labels", min_dept=1)
    said = tiny.crackdask("check", tiny.recipe)
    words = re.sub(r"\s+", " ", said.err)
    assert said.code == 2
    assert "labels.min_dept: unknown key; did you mean min_depth?" in words
    assert "states[0].source: should be" in words
    assert "states[1].source: " in words
    assert "scans/later: no such file or folder" in words
