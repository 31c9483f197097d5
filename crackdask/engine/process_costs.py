"""What the system tells of this process: how much memory it has had, and how long a thread waited for a core."""

from __future__ import annotations

from pathlib import Path


def waited_seconds() -> float:
    """Return how long this thread has had work and no core; nothing where the system, unlike Linux, does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        try:
            import resource
        except ImportError:  # on Windows, which has neither
            return 0
        # Bytes on macOS. (On Linux kilobytes, and those of the process that started this one would count.)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
