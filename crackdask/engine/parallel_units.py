"""Units at work: several at once where an executor's workers can be shared, each charged its part of the time.

While states are registered, on one core each, the workers read the next one and carry on one that has its grey levels;
while the tallies of a pass are added up, they are at another pass. Which units may be at work together is told in
`crackdask.engine.work_units`; what each does is independent of the others, so results do not know how many lanes there
were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from crackdask.blocks.passes import Array
from crackdask.engine.executors import Executor
from crackdask.engine.work_units import Unit, ready
from crackdask.schema import UnitKey

Tables = Mapping[str, Array]


@dataclass
class Lanes:
    """Units at work on an executor.

    Attributes
    ----------
    executor
        Whose workers all of them use.
    perform
        Does one unit.
    """

    executor: Executor
    perform: Callable[[Unit], Tables]
    _pool: ThreadPoolExecutor = field(init=False)
    _at_work: dict[Future[Tables], Unit] = field(default_factory=dict, init=False)
    _seconds: dict[UnitKey, float] = field(default_factory=dict, init=False)
    _counted: float = field(default_factory=time.perf_counter, init=False)

    def __enter__(self) -> Lanes:
        """Open the lanes."""
        self._pool = ThreadPoolExecutor(self.executor.lanes, thread_name_prefix="lane")
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until nothing is at work; when that is because of an error, do not wait for what was begun."""
        with self.executor.halted():
            self._pool.shutdown(cancel_futures=True)

    @property
    def at_work(self) -> frozenset[UnitKey]:
        """The units at work."""
        return frozenset(unit.key for unit in self._at_work.values())

    @property
    def free(self) -> int:
        """How many units may begin now."""
        return self.executor.lanes - len(self._at_work)

    def fill(self, left: Sequence[Unit]) -> None:
        """Begin what may begin of the units that are left, as far as there are lanes."""
        for unit in ready(left, self.at_work)[: self.free]:
            self.begin(unit)

    def begin(self, unit: Unit) -> None:
        """Begin a unit; where there is one lane it waits for the call of `ended`."""
        self._count()
        self._seconds[unit.key] = 0.0
        future: Future[Tables] = self._pool.submit(self.perform, unit) if self.executor.lanes > 1 else Future()
        self._at_work[future] = unit

    def ended(self) -> tuple[Unit, Future[Tables], float]:
        """Wait for a unit to end and return it with its outcome and the seconds it is charged.

        Seconds in which several units are at work are shared among them, so that those of all add up to the whole.
        """
        if self.executor.lanes == 1:
            # On this thread, where an interrupt is heard at once.
            for future, unit in self._at_work.items():
                _here(future, self.perform, unit)
        done, _ = wait(self._at_work, return_when=FIRST_COMPLETED)
        self._count()
        # Of several the one whose turn was first, so that it does not hang on chance what is told.
        future = next(future for future in self._at_work if future in done)
        unit = self._at_work.pop(future)
        return unit, future, self._seconds.pop(unit.key)

    def _count(self) -> None:
        now = time.perf_counter()
        for unit in self._at_work.values():
            self._seconds[unit.key] += (now - self._counted) / len(self._at_work)
        self._counted = now


def _here(future: Future[Tables], perform: Callable[[Unit], Tables], unit: Unit) -> None:
    try:
        future.set_result(perform(unit))
    except Exception as error:
        future.set_exception(error)
