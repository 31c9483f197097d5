"""Who may ask the server: whoever has the token, from a page of this server, under a name of this machine.

The token comes in the link that is printed, as Jupyter's does, and is kept in a cookie that no script can read. A page
of another site can neither send that cookie (SameSite=Strict) nor read what is answered; a name of another site that
leads to this machine (DNS rebinding) is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tornado import web
from tornado.log import app_log

_HEADERS = {
    # Charts set styles of their elements; scripts come from this server's files alone.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """What a request must show.

    Attributes
    ----------
    names
        Names of this machine that a request may be for, besides addresses.
    loopback
        Whether the server listens to this machine alone, and addresses of others are refused too.
    secure
        Whether it speaks TLS, so that the cookie is sent over TLS alone.
    token
        The secret.
    """

    names: Collection[str] = ("localhost",)
    loopback: bool = True
    secure: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @classmethod
    def of(cls, host: str, *, secure: bool) -> Access:
        """Return what a server at an address asks for."""
        if is_loopback(host):
            return cls(secure=secure)
        return cls({"localhost", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}, False, secure)

    def knows(self, host: str) -> bool:
        """Tell whether the header `Host` names this machine; the port may be another, that of a tunnel.

        >>> Access().knows("localhost:8000"), Access().knows("127.0.0.1"), Access().knows("example.org")
        (True, True, False)
        """
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower()
        try:
            return ipaddress.ip_address(name).is_loopback or not self.loopback
        except ValueError:
            return name in self.names

    def admits(self, shown: str | None) -> bool:
        """Tell whether that is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest((shown or "").encode(), self.token.encode())


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guarded(web.RequestHandler):
    """A request that is answered to whoever has the token."""

    def initialize(self, access: Access, **given: Any) -> None:
        """Take what the application gives each request."""
        self.access = access
        for name, value in given.items():
            setattr(self, name, value)

    def set_default_headers(self) -> None:
        """Forbid frames, foreign scripts, guesses of types, referrers and copies."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    @property
    def takes_gzip(self) -> bool:
        """Whether the answer may be compressed."""
        return "gzip" in self.request.headers.get("Accept-Encoding", "")

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers send cookies to all ports of a host, so it tells this server from others."""
        return f"crackdask-explore-{self.settings['port']}"

    def prepare(self) -> None:
        """Refuse who may not ask."""
        if not self.access.knows(self.request.host):
            self._refuse("this server is not reached by that name; open the link that `crackdask explore` printed")
        elif self.request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and (
            self.request.headers.get("Sec-Fetch-Mode") != "navigate"
        ):
            self._refuse("a page of another site may not ask")
        elif not self.access.admits(self.get_cookie(self.cookie)):
            self._door()
        elif "token" in self.request.query_arguments:  # the printed link again, in a browser that was let in before
            self._go_on_without_token()

    def _door(self) -> None:
        """Let in who comes with the token: with a cookie, to the same address without it."""
        if not self.access.admits(self.get_query_argument("token", "")):
            self._refuse(
                "no token, or a wrong one: open the link that `crackdask explore` printed, with ?token= in it, in this "
                "browser; after that this address works, too"
            )
            return
        self.set_cookie(
            self.cookie, self.access.token, httponly=True, samesite="Strict", secure=self.access.secure, path="/"
        )
        self._go_on_without_token()

    def _go_on_without_token(self) -> None:
        """Lead to the same address without the token, which is not to be copied or bookmarked with it."""
        left = [(n, v) for n in self.request.query_arguments for v in self.get_query_arguments(n) if n != "token"]
        self.redirect(f"{self.request.path}?{urlencode(left)}" if left else self.request.path)

    def _refuse(self, words: str) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{words}\n")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what went wrong in the server, without the query: that of the first request is the token."""
        if not isinstance(value, web.HTTPError):
            app_log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **_: Any) -> None:
        """Say what was wrong in plain words; never a traceback."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._reason}\n")
