"""What is checked before a batch system is asked for a job."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from crackdask.batch_systems import BatchSystem
from crackdask.cluster.errors import ClusterError
from crackdask.recipe.site import Site


def check_there(system: BatchSystem) -> None:
    """Refuse a system whose commands are not here.

    Raises
    ------
    ClusterError
        If they are not.
    """
    if shutil.which(system.submit[0]) is None:
        raise ClusterError(
            f"there is no `{system.submit[0]}` here: call this where jobs of {system.title} are submitted, "
            "or use --cluster local (`crackdask submit --dry-run` shows a job's script anywhere)"
        )


def check_nameable(folder: Path) -> None:
    """Refuse a folder that no job script can name, for batch systems know no quotes.

    Raises
    ------
    ClusterError
        If it holds spaces or special characters.
    """
    if "%" in str(folder) or shlex.quote(str(folder)) != str(folder):
        raise ClusterError(
            f"scripts of jobs cannot name the folder {str(folder)!r}: put the store where the path has no spaces and "
            "special characters, or give another `folder` in the file of --cluster-config"
        )


def check_cores(site: Site, cores: int, system: BatchSystem) -> None:
    """Refuse what a system cannot be asked for without a word of its administrator's.

    Raises
    ------
    ClusterError
        If it would not give so many cores to a job.
    """
    if complaint := system.complaint(cores, site.directives):
        raise ClusterError(complaint)


def is_queued(system: BatchSystem, job: str) -> bool:
    """Ask a system whether a job waits or runs; no where it cannot be asked, or the job has no number."""
    if not job:
        return False
    try:
        answer = subprocess.run([*system.asks, job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if answer.returncode or system.is_over(answer.stdout + answer.stderr):
        return False
    return not system.has_ended(answer.stdout)


def private_folder(folder: Path) -> None:
    """Make a folder that nobody else can enter, or see that one which is there is closed to others.

    Raises
    ------
    ClusterError
        If it is somebody else's, and open.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        try:
            folder.chmod(0o700)
        except PermissionError:
            raise ClusterError(
                f"{folder} belongs to somebody else, who could read the key to the dashboard in it; name a `folder` of "
                "your own in the file of --cluster-config"
            ) from None
