"""A phantom in which much that the method does not expect happens at once."""

from __future__ import annotations

from crackdask.grid import Triple
from crackdask.phantom.alterations import Alterations
from crackdask.phantom.cell_states import FIVE_STATES, State
from crackdask.phantom.experiment import Phantom


def hard(shape: Triple = (112, 168, 168), states: tuple[State, ...] = FIVE_STATES, seed: int = 7) -> Phantom:
    """Return an experiment with a third phase, rings, drift, cupping, blur, local motion and slip.

    Each of the later states has its own mixture; from the sixth state on the mixtures repeat.

    >>> hard().alterations.slip
    (0.0, 0.0, 0.0, 2.0, 2.0)
    """

    def spread(first: float, *later: float) -> tuple[float, ...]:
        return (first, *(later[k % len(later)] for k in range(len(states) - 1)))

    altered = Alterations(
        binder_level=0.4,
        rings=0.04,
        gain=spread(1.0, 1.03, 1.0, 0.98, 1.02),
        offset=spread(0.0, 0.02, 0.0, -0.02, 0.0),
        cupping=spread(0.02, 0.02, 0.05, 0.02, 0.05),
        blur=spread(0.0, 0.0, 0.7, 0.0, 0.5),
        local_motion=spread(0.0, 2.0, 4.0, 3.0, 4.0),
        slip=spread(0.0, 0.0, 0.0, 2.0, 2.0),
    )
    return Phantom(shape=shape, states=states, seed=seed, alterations=altered)
