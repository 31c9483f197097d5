"""Nobody without the token gets anything, from no other site, under no other name; nothing leads to the disk."""

from __future__ import annotations

import logging
import socket
import ssl
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from crackdask.explore.access import Access
from crackdask.explore.errors import ExploreError
from crackdask.explore.handlers import ANSWERS
from crackdask.explore.server import Certificate
from tests.support.explored import Asker, served

PATHS = ["", "main.js", "report/", "bokeh/bokeh.min.js", "no/such/page", *(f"api/{name}" for name in ANSWERS)]


@pytest.mark.parametrize("token", ["", "wrong", "ü"])
@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_there_is_nothing(asker: Asker, path: str, token: str) -> None:
    answer = Asker(asker.served, token=token)(path)
    assert answer.code == 403
    assert b"crackdask explore" in answer.body
    assert "Set-Cookie" not in answer.headers


def test_the_link_gives_a_cookie_and_leads_to_an_address_without_the_token(asker: Asker) -> None:
    held = asker.served
    stranger = Asker(held, token="")
    answer = stranger("", token=held.access.token, further="word & more")
    assert answer.code == 302
    assert answer.headers["Location"] == "/?further=word+%26+more"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"crackdask-explore-{held.port}={held.access.token}")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert stranger("", token="wrong").code == 403
    assert asker("").code == 200


def test_the_link_leads_there_again_in_a_browser_that_was_let_in_before(asker: Asker) -> None:
    again = asker("", token=asker.served.access.token, state="1")
    assert again.code == 302
    assert again.headers["Location"] == "/?state=1"


def test_two_servers_do_not_take_each_others_cookies(asker: Asker, whole_store: Path) -> None:
    with served(whole_store) as other:
        assert other.access.token != asker.served.access.token
        both = Asker(other, token="")
        both.cookie = f"{asker.cookie}; {Asker(other).cookie}"
        assert both("api/layout").code == 200
        assert Asker(other, token=asker.served.access.token)("api/layout").code == 403


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org:80", "192.0.2.7", "127.0.0.1.example.org", ""])
def test_another_name_that_leads_here_is_refused(asker: Asker, host: str) -> None:
    answer = asker("api/layout", {"Host": host})
    assert answer.code in (400, 403)
    assert b"states" not in answer.body


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_names_of_this_machine_are_known(asker: Asker, host: str) -> None:
    assert asker("api/layout", {"Host": host}).code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_read_nothing(asker: Asker, site: str) -> None:
    answer = asker("api/layout", {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Origin": "http://example.org"})
    assert answer.code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert not [name for name in asker("api/layout").headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", PATHS[:6])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_every_answer_forbids_frames_and_foreign_scripts(asker: Asker, path: str, token: str | None) -> None:
    headers = Asker(asker.served, token=token)(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Server" not in headers


@pytest.mark.parametrize(
    "path",
    ["../pyproject.toml", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "server.py", "access.py", "page/main.js",
     "bokeh/../main.js", "main.js%00", "%2e%2e/%2e%2e/etc/passwd", "index.html", "api/", "api/../main.js", "icon.svg/"],
)  # fmt: skip
def test_no_path_leads_to_the_disk(asker: Asker, path: str) -> None:
    with socket.create_connection(("127.0.0.1", asker.served.port)) as line:  # as it is: clients tidy paths
        line.sendall(f"GET /{path} HTTP/1.0\r\nHost: localhost\r\nCookie: {asker.cookie}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"400")
    assert b"import " not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_reads_and_never_writes(asker: Asker, method: str) -> None:
    for path in ("", "api/layout", "api/tile"):
        assert asker(path, method=method).code == 405


def test_the_token_is_in_no_log(asker: Asker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = asker.served.access.token
    Asker(asker.served, token="")("", token=token)
    Asker(asker.served, token="")("", token=f"{token}x")
    asker("api/tile", volume="no")
    assert token not in caplog.text
    assert token not in repr(asker.served.access)


def test_others_are_let_in_only_by_tls(whole_store: Path) -> None:
    with (
        pytest.raises(ExploreError, match=r"--certfile and\s+--keyfile.*ssh -L") as refused,
        served(whole_store, host="0.0.0.0"),
    ):
        pass
    assert "0.0.0.0" in str(refused.value)


def test_an_address_that_is_not_of_this_machine_is_said(whole_store: Path, certificate: Certificate) -> None:
    with (
        pytest.raises(ExploreError, match="give an address of this machine"),
        served(whole_store, host="192.0.2.7", certificate=certificate),
    ):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a certificate of this machine, signed by itself."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Certificate(cert, secret)


def test_tls_is_spoken_with_a_certificate(whole_store: Path, certificate: Certificate) -> None:
    with served(whole_store, certificate=certificate) as held:
        assert held.link.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate.certfile))
        request = urllib.request.Request(
            f"https://localhost:{held.port}/api/layout", headers={"Cookie": Asker(held).cookie}
        )
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            assert b'"states"' in answer.read()
        assert held.access.secure


def test_a_certificate_that_is_none_is_said(whole_store: Path, certificate: Certificate, tmp_path: Path) -> None:
    for wrong, said in (
        (Certificate(tmp_path / "no.pem"), "there is no file"),
        (Certificate(certificate.certfile), "cannot be used"),  # a certificate without its key
        (Certificate(certificate.keyfile or tmp_path, certificate.certfile), "cannot be used"),
    ):
        with pytest.raises(ExploreError, match=said), served(whole_store, certificate=wrong):
            pass


def test_a_port_that_is_taken_is_passed_over(asker: Asker, whole_store: Path) -> None:
    with served(whole_store, port=asker.served.port) as other:
        assert asker.served.port < other.port <= asker.served.port + 50
        assert Asker(other)("api/layout").code == 200


def test_a_server_for_others_knows_addresses_and_its_own_names() -> None:
    access = Access.of("lab7.example.org", secure=True)
    assert access.knows("lab7.example.org:8470")
    assert access.knows("192.0.2.7")
    assert access.knows(socket.gethostname())
    assert not access.knows("evil.example.org")
