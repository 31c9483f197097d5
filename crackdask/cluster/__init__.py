"""Where the work runs: in this process, on threads, on local workers, in a batch system's jobs, in pods, elsewhere."""

from crackdask.cluster.connecting import connect, recorded
from crackdask.cluster.errors import ClusterError, ClusterLostError, WorkersLostError
from crackdask.cluster.executors import Distributed, Executor, Job, Outcome, Serial, Threads
from crackdask.cluster.tls import Certificates
from crackdask.cluster.workers import cap_threads, check_memory

__all__ = [
    "Certificates",
    "ClusterError",
    "ClusterLostError",
    "Distributed",
    "Executor",
    "Job",
    "Outcome",
    "Serial",
    "Threads",
    "WorkersLostError",
    "cap_threads",
    "check_memory",
    "connect",
    "recorded",
]
