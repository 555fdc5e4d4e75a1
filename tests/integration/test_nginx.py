"""Nginx as role nginx configures it: what reaches the application, and what clients get."""

from __future__ import annotations

import gzip
import json
import signal
import socket

from edge import HOST, ask, log, site, upstream

from application import Application
from programs import free_port, wait_for

NOBODY = "127.0.0.1:9"


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
