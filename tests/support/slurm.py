"""A real Slurm on this machine: munged, slurmctld, two slurmd in a folder of their own, on loopback, no systemd.

Debian's packages `slurm-wlm` and `munge` hold the programs; nothing of the system's own Slurm is touched.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
#: Daemons lie where only root looks by default.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])

_CONF = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait={grace}
OverTimeLimit=0
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
"""


def missing() -> list[str]:
    """Return the programs that a Slurm needs and that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name, path=_PLACES)]


@dataclass(frozen=True)
class SlurmJob:
    """A job in the queue."""

    number: int
    name: str
    state: str
    nodes: str


@dataclass
class Slurm:
    """A running Slurm. Its commands need `conf` as SLURM_CONF in their environment, which `running` sees to."""

    folder: Path
    nodes: tuple[str, ...] = ("n1", "n2")
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    def command(self, *words: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}\n{self.logs()}"
        return done.stdout

    def jobs(self, *, name: str | None = None, state: str | None = None) -> list[SlurmJob]:
        """Return the jobs in the queue; states as squeue names them, such as RUNNING."""
        lines = self.command("squeue", "-h", "-o", "%i|%T|%N|%j").splitlines()
        found = [line.split("|", 3) for line in lines]
        jobs = [SlurmJob(int(number), title, how, nodes) for number, how, nodes, title in found]
        return [job for job in jobs if name in (None, job.name) and state in (None, job.state)]

    def state(self, number: int) -> str:
        """Return the state of a job, also of one that ended a while ago."""
        return self._shown("job", str(number))["JobState"]

    def node_state(self, node: str) -> str:
        return self._shown("node", node)["State"]

    def _shown(self, *what: str) -> dict[str, str]:
        words = self.command("scontrol", "-o", "show", *what).split()
        return {key: value for key, sign, value in (word.partition("=") for word in words) if sign}

    def down(self, node: str) -> None:
        """Set a node down; its jobs are lost, or queued again where they allow it."""
        self.command("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def up(self, node: str) -> None:
        """Have a node back, if it is not back by itself."""
        if "DOWN" in self.node_state(node):
            with suppress(AssertionError):  # refused: it came back meanwhile, or else the wait will tell
                self.command("scontrol", "update", f"nodename={node}", "state=resume")
        self.wait(lambda: "DOWN" not in self.node_state(node), 30)

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until something holds."""
        until = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < until, f"not so after {seconds:g} s\n{self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        """Return the ends of what the daemons wrote."""
        tails = [f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in sorted(self.folder.glob("*.log"))]
        return "\n".join(tails)

    def clear(self) -> None:
        """Cancel all jobs and wait until they are gone."""
        if self.jobs():
            subprocess.run(["scancel", "--full", f"--user={getpass.getuser()}"], timeout=60, check=False)
        until = time.monotonic() + 20
        while self.jobs() and time.monotonic() < until:
            time.sleep(0.1)

    # ------------------------------------------------------------ from here to there and back

    def start(self, grace: int) -> None:
        for name in ("munge", "state", *(f"spool-{node}" for node in self.nodes)):
            (self.folder / name).mkdir()
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        control, *ports = _free_ports(1 + len(self.nodes))
        lines = [_CONF.format(host=host, control=control, user=getpass.getuser(), folder=self.folder, grace=grace)]
        lines += [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN\n"
            for node, port in zip(self.nodes, ports, strict=True)
        ]
        lines += [f"PartitionName=main Nodes={','.join(self.nodes)} Default=YES MaxTime=INFINITE State=UP\n"]
        self.conf.write_text("".join(lines))
        munge = self.folder / "munge"
        self._daemon(
            "munged", "--foreground", f"--key-file={key}", f"--socket={munge / 'socket'}",
            f"--pid-file={munge / 'pid'}", f"--seed-file={munge / 'seed'}", f"--log-file={munge / 'log'}",
        )  # fmt: skip
        self.wait((munge / "socket").exists, 20)
        self._daemon("slurmctld", "-D", "-c", "-f", str(self.conf))
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-c", "-f", str(self.conf), "-N", node)
        self.wait(self._idle, 60)

    def _daemon(self, name: str, *words: str) -> None:
        program = shutil.which(name, path=_PLACES)
        assert program
        log = self.folder / f"{len(self.daemons)}-{name}.log"
        with log.open("wb") as file:
            self.daemons.append(subprocess.Popen([program, *words], stdout=file, stderr=file, start_new_session=True))

    def _idle(self) -> bool:
        assert all(daemon.poll() is None for daemon in self.daemons), self.logs()
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%t"], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout.split() == ["idle"] * len(self.nodes)

    def stop(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.clear()
        for daemon in self.daemons:  # all at once: one that misses another waits for it
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _free_ports(count: int) -> Sequence[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(grace: int = 15) -> Iterator[Slurm]:
    """Start a Slurm with two nodes of two cores and 4 GB, and stop it at the end.

    Parameters
    ----------
    grace
        Seconds between the SIGTERM and the SIGKILL of a job that is cancelled or out of time.
    """
    # A short path that everybody may enter: sockets and munge ask for it.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    slurm, before = Slurm(folder), os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(slurm.conf)
    try:
        slurm.start(grace)
        yield slurm
    finally:
        slurm.stop()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)
