"""What is used of distributed that it does not promise: attributes that are no part of its documented interface.

Each function here says why there is no other way. tests/cluster/test_internals.py says what is expected of each, so
that a version of distributed that changes one fails there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import LocalCluster, Scheduler
from distributed import utils as distributed_utils
from tornado import httputil, web


def guard_pages(
    scheduler: Scheduler,
    lets_in: Callable[[httputil.HTTPServerRequest], bool],
    door: type[web.RequestHandler],
    settings: dict[str, Any],
) -> None:
    """Have a handler answer whoever asks for a web page of a scheduler and is not let in.

    distributed has routes and a prefix to be configured, but nothing that stands before all of its pages.

    Parameters
    ----------
    scheduler
        Its web pages have been started.
    lets_in
        Tells of a request whether it is answered.
    door, settings
        Handler that answers all others, and what it is initialised with.
    """
    application = scheduler.http_application
    find_handler = application.find_handler

    def guarded(request: httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        if lets_in(request):
            return find_handler(request, **kwargs)
        return application.get_handler_delegate(request, door, settings)

    application.find_handler = guarded


def dashboard_address(scheduler: Any) -> str | None:
    """Return where the dashboard of a scheduler in this process listens, as host:port, or None.

    `cluster.dashboard_link` gives the same in the form of a template of the user's, without what we add to it.
    """
    server = scheduler.services.get("dashboard")
    return None if server is None else f"{server.address}:{server.port}"


def local_cluster(scheduler: type[Scheduler]) -> type[LocalCluster]:
    """Return a LocalCluster with a scheduler of some class; LocalCluster's own is not to be chosen."""

    class ChosenScheduler(LocalCluster):  # type: ignore[misc, unused-ignore]
        async def _start(self) -> None:
            self.scheduler_spec["cls"] = scheduler
            await super()._start()

    return ChosenScheduler


def leave_preload_to_us() -> None:
    """Keep distributed from choosing what the process loads that workers are copies of.

    It would have that process, and this one, load pandas.
    """
    distributed_utils._forkserver_preload_set = True
