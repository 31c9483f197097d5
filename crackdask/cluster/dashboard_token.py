"""A scheduler whose web pages open only for who has the link that the run printed.

Pages of a dashboard show file names and call stacks, and anyone on the same machine can open a loopback port. The
link carries a token; whoever comes with it is given a cookie, everybody else nothing.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any
from urllib.parse import urlencode

import dask
from distributed import Scheduler
from tornado import web

from crackdask.cluster.distributed_internals import dashboard_address, guard_pages

_COOKIE = "crackdask"


class GuardedScheduler(Scheduler):  # type: ignore[misc, unused-ignore]
    """A dask scheduler that asks who comes to its web pages."""

    def __init__(self, *words: Any, **more: Any) -> None:
        self.token = secrets.token_urlsafe(24)
        super().__init__(*words, **more)

    def start_http_server(self, *words: Any, **more: Any) -> None:
        """Start the web pages, guarded from the first request on."""
        super().start_http_server(*words, **more)
        guard_pages(
            self,
            lambda request: _comes_with(request.cookies.get(_COOKIE), self.token),
            door=_Door,
            settings={"token": self.token},
        )


class _Door(web.RequestHandler):
    """Lets in who comes with the token."""

    def initialize(self, token: str) -> None:
        self.token = token

    def prepare(self) -> None:
        if not _comes_with(self.get_query_argument("token", ""), self.token):
            self.set_status(403)
            self.finish("open the link that crackdask printed: it carries a token\n")
            return
        self.set_cookie(_COOKIE, self.token, httponly=True, samesite="Strict")
        left = {name: self.get_query_argument(name) for name in self.request.query_arguments if name != "token"}
        self.redirect(f"{self.request.path}?{urlencode(left)}" if left else self.request.path)


def _comes_with(shown: Any, token: str) -> bool:
    value = getattr(shown, "value", shown) or ""
    return hmac.compare_digest(str(value).encode(), token.encode())


def link(scheduler: Any) -> str | None:
    """Return the dashboard's address with the token, or None."""
    address = dashboard_address(scheduler)
    if address is None:
        return None
    template = dask.config.get("distributed.dashboard.link")
    if "{scheme}" not in template:  # a proxy's own address
        return str(template)
    return f"http://{address}/status?token={scheduler.token}"
