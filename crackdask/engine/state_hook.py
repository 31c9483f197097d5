"""The user's own command for each finished state: begun once, told of where it fails, and never waited for."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from crackdask.engine.checkpoints import STATES_TOLD, Work
from crackdask.storage.locations import Place


@dataclass
class StateHook:
    """A command of the shell, and what became of it.

    Attributes
    ----------
    command
        What the shell is given, or None.
    store
        The store, in whose work folder it is noted for which states the command was begun.
    say
        Is told what failed.
    """

    command: str | None
    store: Place
    say: Callable[[str], None]
    _begun: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    def finished(self, states: Sequence[str], facts: Mapping[str, str]) -> None:
        """Begin the command for each finished state for which it was not begun before.

        Parameters
        ----------
        states
            Names of all states that are finished.
        facts
            What else the command finds in its environment, beside CRACKDASK_STATE and CRACKDASK_STORE.
        """
        if self.command is None:
            return
        work = Work.beside(self.store)
        noted = work.noted(STATES_TOLD)
        before = [name for name in noted if isinstance(name, str)] if isinstance(noted, list) else []
        for name in states:
            if name in before:
                continue
            before.append(name)
            env = {**os.environ, **facts, "CRACKDASK_STATE": name, "CRACKDASK_STORE": str(self.store)}
            try:
                work.note(STATES_TOLD, before)  # first: rather not at all than twice
                self._begun[name] = subprocess.Popen(self.command, shell=True, env=env, stdin=subprocess.DEVNULL)
            except (OSError, ValueError) as error:
                self.say(f"{name}: the command for it cannot be started: {error}")

    def look(self, seconds: float = 0.0) -> None:
        """Tell of the commands that failed, having waited for those at work for some seconds at most, all together.

        Those that are at work after a wait are told too, and left to themselves.
        """
        ends = time.monotonic() + seconds
        for name, process in list(self._begun.items()):
            try:
                code = process.wait(max(0.0, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                if seconds:
                    self.say(
                        f"{name}: the command for it is still at work (process {process.pid}) and is left to itself"
                    )
                continue
            del self._begun[name]
            if code:
                self.say(f"{name}: the command for it failed ({code}); the run goes on")
