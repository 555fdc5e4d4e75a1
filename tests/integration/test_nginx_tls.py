"""Nginx as role nginx configures it: TLS, and names that nobody declared."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from contextlib import suppress

import pytest
from edge import HOST, ask, site
from redis_members import Authority

from nginx_files import ticket_keys, variables


def test_names_that_nobody_declared_get_nothing(start, application):
    nginx = start(
        site({"path": "/", "service": "inventory"}), nginx_services={"inventory": application.port}
    )
    for name in ("nobody.example", "127.0.0.1", "shop.example.evil"):
        with socket.create_connection(("127.0.0.1", nginx.http), 60) as link:
            link.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            with suppress(ConnectionResetError):
                assert link.recv(1) == b""
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        shake_hands(nginx, ssl.create_default_context())
    assert application.seen == []
    assert ask(nginx).status == 200


def shake_hands(nginx, context, name=HOST):
    """Protocol, cipher and the chosen application protocol."""
    with (
        socket.create_connection(("127.0.0.1", nginx.https), 60) as link,
        context.wrap_socket(link, server_hostname=name) as session,
    ):
        return session.version(), session.cipher()[0], session.selected_alpn_protocol()


@pytest.fixture(scope="module")
def authority():
    made = Authority()
    yield made
    made.close()


def trusting(authority, *protocols, **limits):
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols([*protocols])
    for name, value in limits.items():
        setattr(context, name, value)
    return context


def test_tls_is_mozillas_and_port_80_leads_to_it(start, application, authority):
    certificate, key = authority.certify("127.0.0.1")
    secure = site(
        {"path": "/", "service": "inventory"},
        tls={"certificate": "/FOLDER/shop.pem", "key": "/FOLDER/shop.key"},
    )
    nginx = start(
        secure,
        nginx_services={"inventory": application.port},
        files={"shop.pem": certificate.read_text(), "shop.key": key.read_text()},
    )
    old = ssl.TLSVersion.TLSv1_2
    assert shake_hands(nginx, trusting(authority, "h2"))[0::2] == ("TLSv1.3", "h2")
    version, cipher, chosen = shake_hands(
        nginx, trusting(authority, "http/1.1", maximum_version=old)
    )
    assert (version, chosen) == ("TLSv1.2", "http/1.1")
    assert cipher in variables()["__nginx_ciphers"]
    answer = ask(nginx, "/a?b=c")
    assert (answer.status, answer.headers["Location"]) == (
        308,
        f"https://{HOST}:{nginx.https}/a?b=c",
    )
    link = http.client.HTTPSConnection(
        "127.0.0.1", nginx.https, timeout=60, context=Named(trusting(authority))
    )
    link.request("GET", "/", headers={"Host": HOST})
    answer = link.getresponse()
    assert json.loads(answer.read())["X-Forwarded-Proto"] == "https"
    assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"
    link.close()
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        shake_hands(nginx, trusting(authority), "nobody.example")
    nginx.variables["nginx_tls_profile"] = "modern"
    nginx.configure([secure])
    nginx.reload()
    assert shake_hands(nginx, trusting(authority, "h2"))[0::2] == ("TLSv1.3", "h2")
    with pytest.raises(ssl.SSLError):
        shake_hands(nginx, trusting(authority, maximum_version=old))


def test_edges_resume_each_others_tls_sessions_also_on_the_next_day(start, application, authority):
    certificate, key = authority.certify("127.0.0.1")
    secure = site(
        {"path": "/", "service": "inventory"},
        tls={"certificate": "/FOLDER/shop.pem", "key": "/FOLDER/shop.key"},
    )
    seed, day = ticket_keys.Seed(20_000, b"x" * 32), 20_001
    files = {"shop.pem": certificate.read_text(), "shop.key": key.read_text()}

    def edge(day, seed=seed):
        return start(
            secure,
            nginx_services={"inventory": application.port},
            nginx_tickets_from="edge1",
            files={**files, **ticket_keys.keys(seed, day)},
        )

    one, two, stranger = edge(day), edge(day + 1), edge(day, ticket_keys.Seed(20_000, b"y" * 32))
    for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority, maximum_version=newest)
        session, reused = resumed(one, context)
        assert not reused
        for edge_, expected in ((one, True), (two, True), (stranger, False)):
            assert resumed(edge_, context, session)[1] is expected


def resumed(nginx, context, session=None):
    """The session that the server offers, and whether it took up the given one."""
    with (
        socket.create_connection(("127.0.0.1", nginx.https), 60) as link,
        context.wrap_socket(link, server_hostname=HOST, session=session) as secure,
    ):
        secure.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        while secure.recv(4096):
            pass
        return secure.session, secure.session_reused


class Named:
    """A context that asks for the site's name, whatever it connects to."""

    def __init__(self, context):
        self.context = context

    def wrap_socket(self, link, server_hostname=None):
        return self.context.wrap_socket(link, server_hostname=HOST)

    def __getattr__(self, name):
        return getattr(self.context, name)
