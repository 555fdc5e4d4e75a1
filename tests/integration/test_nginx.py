"""Nginx as role nginx configures it: what reaches the application, and what clients get."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import ssl
import threading
from contextlib import suppress

import pytest
from redis_members import Authority

from application import Application
from nginx_files import ticket_keys, variables
from nginx_server import Nginx
from programs import free_port, wait_for

HOST = "shop.example"
NOBODY = "127.0.0.1:9"


def site(*locations, **more):
    return {"name": "shop", "server_names": [HOST], "locations": [*locations], **more}


def upstream(name, *addresses, **more):
    return {"name": name, "servers": [{"address": address, **more} for address in addresses]}


@pytest.fixture
def application():
    program = Application()
    yield program
    program.close()


@pytest.fixture
def start():
    """Start an Nginx with these sites."""
    programs = []

    def start(*sites, files=None, **variables):
        programs.append(Nginx([*sites], **variables))
        for name, text in (files or {}).items():
            programs[-1].write(name, text)
        programs[-1].start()
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def ask(nginx, path="/", method="GET", body=None, host=HOST, **headers):
    """The answer with its whole body."""
    link = http.client.HTTPConnection("127.0.0.1", nginx.http, timeout=120)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    link.request(method, path, body, {"Host": host, **names})
    answer = link.getresponse()
    answer.content = answer.read()
    link.close()
    return answer


def log(nginx):
    """The access log, whose lines are all JSON."""
    return [
        json.loads(line) for line in (nginx.folder / "logs/access.log").read_text().splitlines()
    ]


FORGED = {
    "X_Real_IP": "10.0.0.1",
    "X_Forwarded_For": "10.0.0.2, 192.0.2.77",
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "evil.example",
    "X_Forwarded_Port": "1",
    "X_Forwarded_Prefix": "/evil",
    "Forwarded": "for=10.0.0.3",
    "Proxy": "http://evil.example",
    "X_Request_ID": "forged",
}


def test_the_application_hears_of_the_client_from_nobody_but_nginx(start, application):
    whole = site({"path": "/", "service": "inventory"})
    services = {"inventory": application.port}
    nginx = start(whole, nginx_services=services)
    answer = ask(nginx, **FORGED)
    told = json.loads(answer.content)
    identity = answer.headers["X-Request-ID"]
    assert len(identity) == 32
    assert {name: value for name, value in told.items() if name != "Accept-Encoding"} == {
        "Host": HOST,
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": HOST,
        "X-Request-ID": identity,
    }
    wait_for(lambda: log(nginx))
    (line,) = log(nginx)
    assert (line["request_id"], line["status"], line["client"]) == (identity, 200, "127.0.0.1")
    assert line["upstream"] == application.address
    assert float(line["upstream_duration"]) >= 0

    # What a trusted proxy says is taken over, up to the first address that it does not vouch for.
    nginx.variables["nginx_trusted_proxies"] = ["127.0.0.0/8"]
    nginx.configure([whole])
    nginx.reload()
    told = json.loads(ask(nginx, **FORGED).content)
    assert told["X-Real-IP"] == told["X-Forwarded-For"] == "192.0.2.77"
    assert (told["X-Forwarded-Proto"], told["X-Request-ID"]) == ("https", "forged")
    assert "Forwarded" not in told
    told = json.loads(ask(nginx, X_Request_ID="two words").content)
    assert len(told["X-Request-ID"]) == 32


def test_a_post_is_never_repeated_and_a_get_is(start, application):
    other = Application()
    nginx = start(
        site(
            {"path": "/", "upstream": "both"},
            upstreams=[upstream("both", application.address, other.address, max_fails=0)],
        )
    )
    for method, times in (("GET", 2), ("PUT", 2), ("POST", 1), ("PATCH", 1)):
        assert ask(nginx, "/drop", method, body=b"x" * 100_000).status == 502
        assert application.count(method, "/drop") + other.count(method, "/drop") == times
    assert ask(nginx, "/error", "POST", b"x").status == 500
    assert application.count("POST", "/error") + other.count("POST", "/error") == 1
    other.close()
    # Nothing was sent where nobody takes the connection: then a POST finds the one that lives.
    answers = {ask(nginx, "/", "POST", b"order").status for _ in range(6)}
    assert answers == {200}
    assert application.count("POST", "/") == 6


def test_who_does_not_answer_is_given_up_in_time_with_a_fallback(start, application):
    nginx = start(
        site(
            {"path": "/", "service": "inventory"},
            {"path": "/hang", "service": "inventory", "timeout": "2s", "fallback": {}},
            {
                "path": "/away",
                "upstream": "away",
                "fallback": {"retry_after": "1m", "page": "/FOLDER/sorry.html"},
            },
            upstreams=[upstream("away", NOBODY)],
        ),
        nginx_services={"inventory": application.port},
    )
    answer = ask(nginx, "/hang")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert answer.headers["Cache-Control"] == "no-store"
    assert application.count("GET", "/hang") == 1
    wait_for(lambda: log(nginx))
    duration = log(nginx)[0]["duration"]
    print(f"given up after {duration} s")
    assert duration >= 2
    # The page is not there yet.
    answer = ask(nginx, "/away", "POST", b"x")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    nginx.write("sorry.html", "<p>Back soon.")
    for method in ("GET", "POST"):
        answer = ask(nginx, "/away", method)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
        assert answer.content == b"<p>Back soon."
    # Who is slow harms nobody else, and an answer of the application's own stays as it is.
    assert ask(nginx, "/error").status == 500


def test_stale_answers_are_nobodys_own(start):
    application = Application()
    nginx = start(
        site({"path": "/", "service": "inventory", "timeout": "2s", "fallback": {"stale": True}}),
        nginx_services={"inventory": application.port},
    )
    fresh = ask(nginx, "/list")
    assert ask(nginx, "/mine", Cookie="user=1").status == 200
    assert ask(nginx, "/mine", Authorization="Bearer 1").status == 200
    application.close()
    # It goes stale after a second, and an upstream that is gone is found out then.
    wait_for(lambda: ask(nginx, "/list") and log(nginx)[-1]["cache"] == "STALE")
    answer = ask(nginx, "/list")
    assert (answer.status, answer.content) == (200, fresh.content)
    for headers in ({}, {"Cookie": "user=1"}, {"Authorization": "Bearer 1"}):
        answer = ask(nginx, "/mine", **headers)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "10")


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


def test_limits_are_a_sites_own_and_say_429(start, application):
    limited = site(
        {"path": "/", "service": "inventory"},
        limits={"requests_per_second": 1, "burst": 3, "connections": 2},
    )
    free = {
        **site({"path": "/", "service": "inventory"}),
        "name": "free",
        "server_names": ["free.example"],
    }
    nginx = start(limited, free, nginx_services={"inventory": application.port})
    answers = [ask(nginx).status for _ in range(12)]
    assert set(answers) == {200, 429}
    assert answers[:4] == [200] * 4
    assert {ask(nginx, host="free.example").status for _ in range(12)} == {200}


def test_files_are_served_with_caching_and_what_compresses_is_compressed(start, application):
    nginx = start(
        site(
            {"path": "/static/", "folder": "/FOLDER/files", "cache": "1h"},
            {"path": "/", "service": "inventory"},
        ),
        nginx_services={"inventory": application.port},
        files={"files/app.css": "a{}" * 1000, "files/.git/config": "secret", "secret": "secret"},
    )
    answer = ask(nginx, "/static/app.css", Accept_Encoding="gzip")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "max-age=3600")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.content) == b"a{}" * 1000
    for path in ("/static/.git/config", "/static/../secret", "/static../secret", "/static/none"):
        answer = ask(nginx, path)
        assert answer.status in (400, 404) or "X-Real-IP" in json.loads(answer.content)
        assert b"secret" not in answer.content or answer.status == 200
    answer = ask(nginx, "/?2000", Accept_Encoding="gzip")
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == (
        "gzip",
        "Accept-Encoding",
    )
    assert ask(nginx, "/", "POST", b"x" * 11_000_000).status == 413


UPGRADE = f"GET {{}} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Socket:
    """A WebSocket, as far as Nginx looks: what is sent comes back."""

    def __init__(self, nginx):
        self.link = socket.create_connection(("127.0.0.1", nginx.http), 120)
        self.send(UPGRADE.format("/live"))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.link.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")

    def send(self, text):
        self.link.sendall(text.encode())

    def lives(self):
        self.send("hello")
        back = b""
        while len(back) < 5 and (piece := self.link.recv(5 - len(back))):
            back += piece
        return back == b"hello"


class Load(threading.Thread):
    """One request after the other, each over a connection of its own."""

    def __init__(self, nginx):
        super().__init__()
        self.nginx = nginx
        self.answers = []
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(0.005):
            try:
                self.answers.append(ask(self.nginx).status)
            except OSError as error:
                self.answers.append(repr(error))


def test_a_hundred_reloads_fail_no_request_and_close_no_websocket(start, application):
    nginx = start(
        site(
            {"path": "/", "service": "inventory"},
            {"path": "/live", "service": "inventory", "websocket": True},
        ),
        nginx_services={"inventory": application.port},
    )
    load = Load(nginx)
    load.start()
    try:
        sockets = []
        for number in range(100):
            if number % 2 == 0:
                sockets.append(Socket(nginx))
            nginx.renew()
    finally:
        load.done.set()
        load.join()
    assert {*load.answers} == {200}
    assert [one.lives() for one in sockets] == [True] * 50
    print(f"{len(load.answers)} requests, {len(sockets)} sockets")
    for one in sockets:
        one.link.close()
    # No WebSocket where the site has none.
    with socket.create_connection(("127.0.0.1", nginx.http), 60) as link:
        link.sendall(UPGRADE.format("/").encode())
        assert link.recv(12) == b"HTTP/1.1 200"
    assert "Upgrade" not in application.seen[-1].headers


def test_slow_clients_reach_nobody_and_harm_nobody(start, application):
    nginx = start(
        site({"path": "/", "service": "inventory"}), nginx_services={"inventory": application.port}
    )
    heads = [
        f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ",
        f"POST /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\n",
    ]
    slow = [socket.create_connection(("127.0.0.1", nginx.http), 120) for _ in range(200)]
    for number, link in enumerate(slow):
        link.sendall(heads[number % 2].encode())
    for _ in range(3):
        for link in slow:
            link.sendall(b"x")
        assert {ask(nginx).status for _ in range(20)} == {200}
    assert application.count("GET", "/slow") + application.count("POST", "/slow") == 0

    # Headers have their time as a whole; whoever sends a body may rest for longer.
    def trickles():
        for link in slow[0:40:2]:
            with suppress(OSError):
                link.sendall(b"x")
        return all(closed(link) for link in slow[0:40:2])

    wait_for(trickles, 120)
    assert not any(closed(link) for link in slow[1:40:2])
    for link in slow:
        link.close()


def closed(link):
    """Whether the other side has ended it."""
    link.setblocking(False)
    try:
        return link.recv(1) is not None
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        link.setblocking(True)


def test_a_refused_configuration_leaves_the_former_one_serving(start, application):
    """The role tests each in its folder first; a reload of a bad one is survived, too."""
    good = site({"path": "/", "service": "inventory"})
    nginx = start(good, nginx_services={"inventory": application.port})
    master = nginx.pid
    bad = site(
        {"path": "/", "service": "inventory"}, tls={"certificate": "/none.pem", "key": "/none.key"}
    )
    nginx.configure([bad])
    told = nginx.tell("-t")
    assert told.returncode == 1
    assert "/none.pem" in told.stderr
    nginx.send(signal.SIGHUP)
    assert {ask(nginx).status for _ in range(20)} == {200}
    assert (nginx.pid, nginx.runs()) == (master, nginx.release - 1)
    # A port that somebody else has shows at the reload alone, which changes nothing then.
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        nginx.configure([good])
        taken = {"nginx_status_port": other.getsockname()[1]}
        nginx.variables |= taken
        former, nginx.status = nginx.status, other.getsockname()[1]
        nginx.configure([good])
        nginx.status = former
        assert nginx.tell("-t").returncode == 0
        nginx.send(signal.SIGHUP)
        wait_for(lambda: "Address already in use" in (nginx.folder / "logs/error.log").read_text())
        assert ask(nginx).status == 200
        assert nginx.runs() == nginx.release - 3
