"""What flowed in each interval of voltage: held against a slow loop, and against curves whose derivative is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from crackdask.analysis.cell import incremental_capacity
from crackdask.arrays import Floats

WIDTH = 0.01


def store(voltage: Floats, charge: Floats) -> xr.DataTree:
    """Return a store of nothing but a record, a row a second."""
    current = np.gradient(charge) * 3600
    record = {"time": np.arange(voltage.size) * 1.0, "cell_voltage": voltage, "current": current, "charge": charge}
    group = xr.Dataset({name: ("record", values) for name, values in record.items()})
    return xr.DataTree.from_dict({"/": xr.Dataset(), "/electrochemistry": group})


def plain_loop(voltage: Floats, charge: Floats) -> dict[int, float]:
    """Return what flowed by the number of the interval: each step of the record in a thousand small ones."""
    flowed: dict[int, float] = {}
    for k in range(voltage.size - 1):
        for part in (np.arange(1000) + 0.5) / 1000:
            number = int(np.floor((voltage[k] + part * (voltage[k + 1] - voltage[k])) / WIDTH))
            flowed[number] = flowed.get(number, 0.0) + (charge[k + 1] - charge[k]) / 1000
    return flowed


@given(st.lists(st.integers(-4, 9), min_size=4, max_size=30), st.integers(0, 99))
def test_each_interval_holds_what_a_slow_loop_finds_there(turns: list[int], seed: int) -> None:
    """Whether the voltage rises, rests or turns back; the last row is far above, so that none is taken to be held."""
    rng = np.random.default_rng(seed)
    voltage = np.append(3.5 + np.cumsum(np.array(turns) * 0.004 + rng.uniform(0, 1e-4, len(turns))), 5.0)
    charge = np.append(np.cumsum(rng.uniform(0.1, 1.0, len(turns))), len(turns) + 1.0)
    found = incremental_capacity(store(voltage, charge), 1000 * WIDTH)
    wanted = plain_loop(voltage[:-1], charge[:-1])
    numbers = np.floor(found.voltage.values / WIDTH).astype(int).tolist()
    flowed = dict(zip(numbers, (found.dq_dv.values * WIDTH).tolist(), strict=True))
    for number in {*wanted, *flowed}:
        assert flowed.get(number, 0.0) == pytest.approx(wanted.get(number, 0.0), abs=0.011)
    assert sum(flowed.values()) == pytest.approx(charge[-2] - charge[0])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_voltage_that_overshoots_makes_no_spike(sign: int) -> None:
    """At a high current it drops by the resistance, and recovers while the cell warms up."""
    share = np.linspace(0, 1, 2001)
    voltage = 3.5 + sign * (0.3 * share + 0.1 * np.exp(-share / 0.05) * np.minimum(share / 0.01, 1))
    found = incremental_capacity(store(voltage, sign * share))
    assert np.unique(found.direction.values).tolist() == ["charge" if sign > 0 else "discharge"]
    # Without it 1 / 0.3 V flows evenly; at the turn, and going back and forth over one voltage, more: three times each.
    assert found.dq_dv.max() < 16
    assert float((found.dq_dv * WIDTH).sum()) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(np.diff(found.voltage), sign * WIDTH)  # as the cell went through them


def test_what_flows_while_the_voltage_is_held_is_left_out() -> None:
    share = np.linspace(0, 1, 1001)
    voltage = np.append(3.5 + 0.5 * share, np.full(500, 4.0))
    found = incremental_capacity(store(voltage, np.append(share, 1 + np.linspace(0.001, 0.5, 500))))
    assert float((found.dq_dv * WIDTH).sum()) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(found.dq_dv[1:-2], 2.0, rtol=1e-6)
