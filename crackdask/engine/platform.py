"""Where a run can work: it needs what Linux and macOS have and Windows lacks."""

from __future__ import annotations


class PlatformError(RuntimeError):
    """What was asked cannot be done on this system; the message says what can."""


def check_can_run() -> None:
    """Refuse to run where a killed run could not be continued.

    A run takes for granted that the system lets go of its lock when its process ends, that a file is renamed over
    another at once, and that a folder can be flushed. Windows promises none of it, and nothing of ours is tested there.

    Raises
    ------
    PlatformError
        If this is Windows.
    """
    try:
        import fcntl  # noqa: F401 - with it comes the rest
    except ImportError:
        raise PlatformError(
            "a run needs Linux or macOS; on Windows use WSL (`wsl --install`, then install and call crackdask in it). "
            "Finished stores can be read here: crackdask.open, analyse, figures, status, report and export work"
        ) from None
