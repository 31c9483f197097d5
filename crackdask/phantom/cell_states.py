"""The states in which a cell is scanned, and the series of them that phantoms follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Step = Literal["pristine", "charge", "discharge", "aged"]


@dataclass(frozen=True)
class State:
    """One scan of the experiment.

    Parameters
    ----------
    name
        Unique among the states.
    voltage
        V against Li/Li+.
    step
        What the cell was doing.
    cycle
        Cycles completed before this one.
    """

    name: str
    voltage: float
    step: Step
    cycle: int = 0

    @property
    def folder(self) -> str:
        """The name as a file name.

        >>> State("4.2 V DC", 4.2, "discharge").folder
        '4.2_V_DC'
        """
        return "".join(c if c.isalnum() or c in ".-" else "_" for c in self.name).strip(".") or "_"


FIVE_STATES = (
    State("pristine", 3.0, "pristine"),
    State("4.2 V", 4.2, "charge"),
    State("4.4 V", 4.4, "charge"),
    State("4.2 V DC", 4.2, "discharge"),
    State("2.5 V DC", 2.5, "discharge"),
)
TWELVE_STATES = (
    State("pristine", 3.0, "pristine"),
    *(State(f"{v} V", v, "charge") for v in (3.8, 4.0, 4.1, 4.2, 4.3, 4.4)),
    *(State(f"{v} V DC", v, "discharge") for v in (4.2, 4.0, 3.8, 2.5)),
    State("2.5 V 10 cycles", 2.5, "aged", 10),
)


# What particles do from state to state in the short series, with weights: most are damaged on
# the first charge, and most of them heal on the last discharge.
PAPER_PATHS = (
    ("DDDH", 0.20), ("DDHH", 0.14), ("DHDH", 0.12), ("DDHD", 0.10), ("DHDD", 0.10),
    ("DDDD", 0.09), ("DHHH", 0.09), ("DHHD", 0.09), ("HDDH", 0.03), ("HDHH", 0.02),
    ("HHDH", 0.02),
)  # fmt: skip
# Chance that a step damages a particle, in any other series.
DAMAGE_CHANCE = {"pristine": 0.5, "charge": 0.8, "discharge": 0.4, "aged": 0.7}


def states(number: int) -> tuple[State, ...]:
    """Return this many states: of the short series to 5, of the full one to 12, then ageing.

    >>> [state.name for state in states(4)]
    ['pristine', '4.2 V', '4.4 V', '4.2 V DC']
    """
    if number < 1:
        raise ValueError(f"{number} states asked for; 1 or more are needed")
    if number <= len(FIVE_STATES):
        return FIVE_STATES[:number]
    if number <= len(TWELVE_STATES):
        places = [round(k * (len(TWELVE_STATES) - 1) / (number - 1)) for k in range(number)]
        return tuple(TWELVE_STATES[k] for k in places)
    more = range(20, 10 * (number - len(TWELVE_STATES)) + 11, 10)
    return TWELVE_STATES + tuple(State(f"2.5 V {k} cycles", 2.5, "aged", k) for k in more)
