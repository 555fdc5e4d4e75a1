"""What an instance answers to HAProxy's checks stands in `show stat`, and steers nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress

import pytest
from passes import passes

from programs import wait_for
from selvage.haproxy import master as master_module
from selvage.haproxy import runtime as runtime_module
from selvage.haproxy.master import Master
from selvage.haproxy.runtime import Runtime
from selvage.haproxy.socket import HAProxyUnavailable
from selvage.reconciler.reconcile import Reconciler

# All that Python takes for the end of a line, beside the newline.
ENDS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def mysql(words):
    """An error in place of a handshake: its code, and words."""
    body = b"\xff\x6a\x04" + words
    return len(body).to_bytes(3, "little") + b"\0" + body


def redis(words):
    return b"-ERR " + words + b"\r\n"


def http(words):
    # HAProxy takes no control characters there.
    words = bytes(byte for byte in words if byte >= 0x20)
    return b"HTTP/1.1 503 " + words + b"\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def answering(data):
    """A server that says this on each connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    link, _ = listener.accept()
                    # Until its client has heard it, which then closes.
                    with link, suppress(OSError):
                        link.sendall(data)
                        link.settimeout(60)
                        while link.recv(4096):
                            pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def forged(end, victim):
    """Words after which a row says that the victim is another service's backup."""
    return f'"{end}inventory,{victim},,,0{"," * 16}1{end}'


@pytest.mark.parametrize("end", ["\n", *ENDS], ids=ascii)
@pytest.mark.parametrize("kind", [mysql, redis, http])
def test_the_words_of_an_instance_change_nothing(fabric, haproxy, kind, end):
    fabric.service()
    check = {"type": kind.__name__, "interval": "50ms", "fall": 1}
    fabric.service("other", mode="http" if kind is http else "tcp", check=check)
    one, two = fabric.instance("one"), fabric.instance("two")
    words = forged(end, one.server("inventory")).encode()
    with answering(kind(words)) as port:
        content = {
            "inventory": {one.child: b"", two.child: b""},
            "other": {f"127.0.0.1:{port}": b""},
        }
        reconciler = Reconciler(fabric.settings())
        assert passes(reconciler, content) == []
        before = fabric.services_file
        wait_for(lambda: "DOWN" in haproxy.ask("show stat other 4 -1"))
        for whole in (True, False):
            result = reconciler.run(lambda: content, whole=whole)
            assert result.problems == ()
            assert result.commands == ()
        assert fabric.services_file == before
        rows = fabric.haproxy.servers("inventory")
        assert [row["srv_admin_state"] for row in rows.values()] == ["0", "0"]


@pytest.mark.parametrize("names", [None, ["inventory", "other"], ["nobody"]])
def test_an_answer_that_is_cut_off_is_none(fabric, haproxy, names, monkeypatch):
    """Wherever it is cut, and whatever an instance says just there."""
    fabric.service()
    check = {"type": "mysql", "interval": "50ms", "fall": 1}
    fabric.service("other", mode="tcp", check=check)
    one = fabric.instance("one")
    with answering(mysql(b"\nStopping: 0\n\n")) as port:
        content = {"inventory": {one.child: b""}, "other": {f"127.0.0.1:{port}": b""}}
        assert passes(Reconciler(fabric.settings()), content) == []
        wait_for(lambda: "DOWN" in haproxy.ask("show stat other 4 -1"))
        answers = {}
        exchange = runtime_module.exchange

        def record(path, line, *limits, **options):
            answers[line] = exchange(path, line, *limits, **options)
            return answers[line]

        monkeypatch.setattr(runtime_module, "exchange", record)
        runtime = Runtime(str(haproxy.admin_socket), 60)
        found = runtime.services(names)
    whole = {**answers}
    monkeypatch.setattr(runtime_module, "exchange", lambda path, line, *_, **__: answers[line])
    assert runtime.services(names) == found
    unnoticed = []
    for line, answer in whole.items():
        for cut in range(len(answer)):
            answers = whole | {line: answer[:cut]}
            try:
                runtime.services(names)
            except HAProxyUnavailable:
                continue
            unnoticed.append((line, cut))
    assert unnoticed == []


def connects(path):
    """The master listens a moment after its first worker does."""
    with socket.socket(socket.AF_UNIX) as link:
        return link.connect_ex(str(path)) == 0


def test_a_list_of_processes_that_is_cut_off_is_none(haproxy, monkeypatch):
    """Without its second half, it would say that the last load failed."""
    wait_for(lambda: connects(haproxy.master_socket))
    whole = haproxy.ask("show proc", haproxy.master_socket)
    unnoticed = []
    for cut in range(len(whole)):
        asked = []

        def exchange(path, line, *_, cut=cut, asked=asked, **__):
            asked.append(line)
            return whole[:cut]

        monkeypatch.setattr(master_module, "exchange", exchange)
        with pytest.raises(HAProxyUnavailable):
            Master("/master.sock", 0).reload(Runtime("/admin.sock", 0))
        if "reload" in asked:
            unnoticed.append(cut)
    assert unnoticed == []


def test_an_answer_without_an_end_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("selvage.haproxy.socket._ANSWER_BYTES", 100_000)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "admin.sock"))
        listener.listen()
        said = []

        def serve():
            link, _ = listener.accept()
            with link, suppress(OSError):
                while True:
                    said.append(link.send(b"x" * 10_000))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(HAProxyUnavailable, match="longer than 100000 bytes"):
            Runtime(str(tmp_path / "admin.sock"), 60).services()
        thread.join()


def test_the_worker_that_stops_is_not_believed(fabric, haproxy, monkeypatch):
    """Its frontends are shut down, and its servers are those of a former file."""
    fabric.service()
    one = fabric.instance("one")
    reconciler = Reconciler(fabric.settings())
    content = {"inventory": {one.child: b""}}
    assert passes(reconciler, content) == []
    exchange, former = runtime_module.exchange, ["Stopping: 1"] * 3

    def changed(*arguments, **options):
        said = exchange(*arguments, **options)
        if "Stopping: 0" in said and former:
            said = said.replace("Stopping: 0", former.pop()).replace(",OPEN,", ",STOP,")
        return said

    monkeypatch.setattr(runtime_module, "exchange", changed)
    result = reconciler.run(lambda: content)
    assert former == []
    assert not result.reloaded
    assert result.problems == ()
