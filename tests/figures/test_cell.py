"""What is drawn of the cell tells where a state is linked to no moment of its record."""

from __future__ import annotations

from crackdask import figures
from tests.support.pictured import electrode


def test_a_state_that_is_linked_to_no_moment_is_a_cross_at_the_voltage_of_the_recipe() -> None:
    store = electrode()
    against_voltage, against_charge = figures.damage_against_cell(store).axes
    marks = [line.get_marker() for line in against_voltage.lines if line.get_marker() in ("o", "x")]
    assert marks == ["o"] * (len(marks) - 1) + ["x"]  # the last state
    assert len(marks) == store["electrochemistry"].sizes["state"]
    assert {line.get_marker() for line in against_charge.lines} & {"o", "x"} == {"o"}
