"""Whoever answers in a server's place costs a bounded time, and no secret."""

import contextlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from selvage.redis import resp
from selvage.redis.client import Access, Client, FailedError, RefusedError, without

SECRET = "Correct-horse-battery-staple"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=one"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@contextlib.contextmanager
def peer(folder: Path, answer, tls=True):
    """Somebody who takes one connection and answers what it likes; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        link, _ = listener.accept()
        with contextlib.suppress(OSError):
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
                link = context.wrap_socket(link, server_side=True)
            answer(link)
        link.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()


def connect(folder, port, timeout_s=60.0):
    access = Access("selvage", (SECRET,), folder / "cert.pem", timeout_s)
    return Client("127.0.0.1", port, access)


def greet(link):
    link.recv(4096)
    link.sendall(b"+OK\r\n")


def echo(link):
    """An error with all that was said, as Redis answers to commands that it does not know."""
    said = link.recv(4096).decode().replace("\r\n", " ")
    link.sendall(f"-ERR unknown command, with args beginning with: {said}\r\n".encode())


def test_an_answer(certificate):
    def answer(link):
        greet(link)
        link.recv(4096)
        link.sendall(b"+PO")
        link.sendall(b"NG\r\n")

    with peer(certificate, answer) as port, connect(certificate, port) as client:
        assert client.ask("PING") == "PONG"
        assert client.certificate


def test_a_password_is_in_no_message(certificate):
    with peer(certificate, echo) as port, pytest.raises(RefusedError) as told:
        connect(certificate, port)
    assert SECRET not in str(told.value)

    def answer(link):
        greet(link)
        echo(link)

    with (
        peer(certificate, answer) as port,
        connect(certificate, port) as client,
        pytest.raises(RefusedError) as told,
    ):
        client.ask("CONFIG", "SET", "masterauth", SECRET)
    assert SECRET not in str(told.value)
    assert "(hidden)" in str(told.value)
    assert SECRET not in repr(Access("selvage", (SECRET,), Path("/x")))


def test_a_refusal_is_one_short_printable_line():
    assert without("ERR a\x1b[31m\nb" + "x" * 999, ()).isprintable()
    assert len(without("x" * 999, ())) <= 160


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda link: link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no answer of Redis's"),
        (lambda link: link.sendall(b"$999999999\r\n"), "a length that no answer has"),
        (lambda link: None, "hangs up without an answer"),
        (lambda link: link.sendall(b"+" + b"x" * (2 * resp.ANSWER_BYTES)), "more than 1 MiB"),
    ],
)
def test_nonsense_is_refused_within_bounds(certificate, answer, message):
    def first_listen(link):
        link.recv(4096)
        answer(link)

    with peer(certificate, first_listen) as port, pytest.raises(FailedError, match=message):
        connect(certificate, port)


def test_who_says_nothing_is_not_waited_for(certificate):
    over = threading.Event()
    with peer(certificate, lambda link: over.wait(60)) as port:
        with pytest.raises(FailedError, match="does not answer"):
            connect(certificate, port, timeout_s=0.5)
        over.set()


def test_no_password_goes_to_who_speaks_no_tls(certificate):
    heard = []

    def answer(link):
        heard.append(link.recv(4096))
        link.sendall(b"+OK\r\n")

    with (
        peer(certificate, answer, tls=False) as port,
        pytest.raises(FailedError, match="TLS fails"),
    ):
        connect(certificate, port)
    assert SECRET.encode() not in heard[0]
