"""Checks against servers that answer, dribble, hang, lie or are not there."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs import is_running, wait_for
from selvage import checks
from selvage.catalogue import Check, Service

LIMIT_S = 0.3  # of what shall end by it
GENEROUS_S = 50.0  # of what shall end before it
Behaviour = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(behave: Behaviour) -> Iterator[int]:
    """A server on loopback that gives each connection to `behave`; yields its port."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def answering(answer: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return behave


def greeting(answer: bytes) -> Behaviour:
    return lambda connection: connection.sendall(answer)


def dribbling(answer: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        for byte in answer * 100:
            connection.sendall(bytes([byte]))
            time.sleep(LIMIT_S / 10)

    return behave


def hanging(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.recv(4096)


@pytest.mark.parametrize(
    ("answer", "healthy", "detail"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, "HTTP 200"),
        (b"HTTP/1.0 204\r\n\r\n", True, "HTTP 204"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", True, "HTTP 302"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", False, "HTTP 100"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "HTTP 404"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False, "HTTP 503"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", False, "not an HTTP answer: HTTP/1.1 2000 OK"),
        (b"SSH-2.0-OpenSSH\r\n", False, "not an HTTP answer: SSH-2.0-OpenSSH"),
        (b"HTTP/1.1 200 OK", False, "closed without a complete answer"),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n", False, "closed without a complete answer"),
        (b"HTTP/1.1 200 OK\nServer: x\n\n<html>", True, "HTTP 200"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 16_384, False, "the header does not end"),
        (b"", False, "closed without a complete answer"),
        (b"x" * 100_000, False, "the first line does not end"),
        (b"\x1b[31m\xff\x00\r\n", False, "not an HTTP answer: \\x1b[31m\\xff\\x00"),
    ],
)
def test_http_judges_the_header(answer: bytes, healthy: bool, detail: str) -> None:
    with serving(answering(answer)) as port:
        result = checks.http("127.0.0.1", port, "/health", GENEROUS_S)
    assert result == checks.CheckResult(healthy, detail)


def test_http_asks_for_the_path_as_haproxy_does() -> None:
    requests = []

    def behave(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with serving(behave) as port:
        checks.http("127.0.0.1", port, "/health?deep=1", GENEROUS_S)
    assert requests[0].split(b"\r\n")[0] == b"GET /health?deep=1 HTTP/1.0"


@pytest.mark.parametrize("behave", [hanging, dribbling(b"HTTP/1.1 200 OK\r\nA: b\r\n")])
@pytest.mark.parametrize(
    "check",
    [
        lambda port: checks.http("127.0.0.1", port, "/", LIMIT_S),
        lambda port: checks.redis("127.0.0.1", port, LIMIT_S),
        lambda port: checks.mysql("127.0.0.1", port, LIMIT_S),
        lambda port: checks.role("127.0.0.1", port, Check("redis", "", role="primary"), LIMIT_S),
    ],
)
def test_one_deadline_bounds_the_whole_conversation(
    behave: Behaviour, check: Callable[[int], checks.CheckResult]
) -> None:
    with serving(behave) as port:
        result = check(port)
    assert result == checks.CheckResult(False, "no answer within 0.3 s")


def test_tcp() -> None:
    with serving(hanging) as port:
        result = checks.tcp("127.0.0.1", port, GENEROUS_S)
        assert result == checks.CheckResult(True, "connected")
    result = checks.tcp("127.0.0.1", port, GENEROUS_S)
    assert result == checks.CheckResult(False, "Connection refused")


def test_a_full_backlog_is_a_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            result = checks.tcp(*address, LIMIT_S)
    assert result == checks.CheckResult(False, "no answer within 0.3 s")


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (b"+PONG\r\n", True),
        (b"-NOAUTH Authentication required.\r\n", False),
        (b"-LOADING Redis is loading the dataset in memory\r\n", False),
        (b"+PONGO\r\n", False),
    ],
)
def test_redis(answer: bytes, healthy: bool) -> None:
    with serving(answering(answer)) as port:
        result = checks.redis("127.0.0.1", port, GENEROUS_S)
    assert result == checks.CheckResult(healthy, f"answered: {answer.decode().strip()}")


@pytest.mark.parametrize(
    ("greets", "healthy", "detail"),
    [
        (b"\x0a\0\0\0\x0a8.0.36\0\xff\xff\xff", True, "MySQL: 8.0.36"),
        (b"\x17\0\0\0\xff\x10\x04Too many connections", False, "MySQL error: Too many connections"),
        (b"\0\0\0\0", False, "not a MySQL handshake: an empty packet"),
        (b"\x04\0\0\0HTTP", False, "not a MySQL handshake: HTTP"),
        (b"\xff\xff\xff\0\x0a8", False, "closed without a complete answer"),
        (b"\x0a\0", False, "closed without a complete answer"),
    ],
)
def test_mysql_reads_the_first_packet(greets: bytes, healthy: bool, detail: str) -> None:
    with serving(greeting(greets)) as port:
        result = checks.mysql("127.0.0.1", port, GENEROUS_S)
    assert result == checks.CheckResult(healthy, detail)


@pytest.mark.parametrize(
    ("script", "healthy", "detail"),
    [
        ("echo fine", True, "exit 0: fine"),
        ("echo lag 40 s >&2; exit 3", False, "exit 3: lag 40 s"),
        ("kill -TERM $$", False, "exit -15"),
        ("printf '\\033[1mbold\\nnext'", True, "exit 0: \\x1b[1mbold next"),
        ("exec >&- 2>&-; exit 0", True, "exit 0"),
        ("head -c 1000000 /dev/zero | tr '\\0' x", True, f"exit 0: {'x' * 189}..."),
    ],
)
def test_execute(script: str, healthy: bool, detail: str) -> None:
    result = checks.execute(("/bin/sh", "-c", script), GENEROUS_S)
    assert result == checks.CheckResult(healthy, detail)


def test_execute_has_no_shell() -> None:
    result = checks.execute(("/bin/echo", "$HOME; exit 1"), GENEROUS_S)
    assert result == checks.CheckResult(True, "exit 0: $HOME; exit 1")


@pytest.mark.parametrize("command", [("/nonexistent",), ("/etc/passwd",), ("/bin/echo", "\0")])
def test_a_command_that_cannot_run_is_unhealthy(command: tuple[str, ...]) -> None:
    result = checks.execute(command, 5)
    assert not result.healthy
    assert result.detail.startswith(f"cannot run: {command[0]}: ")


@pytest.mark.parametrize("noise", ["", "while :; do echo noise; done &"])
def test_the_whole_group_is_killed_at_the_time_limit(tmp_path: Path, noise: str) -> None:
    pid = tmp_path / "pid"
    pid.touch()
    script = f"{noise} sleep 600 & echo $! > {pid}; wait"
    for limit_s in (LIMIT_S, 10 * LIMIT_S, 100 * LIMIT_S):
        result = checks.execute(("/bin/sh", "-c", script), limit_s)
        assert result == checks.CheckResult(False, f"no result within {limit_s:g} s")
        if pid.read_text():  # else the shell had not come that far
            break
    # Being killed takes it a moment.
    wait_for(lambda: not is_running(pid.read_text().strip()))


def test_a_child_that_holds_the_pipe_neither_delays_nor_survives(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid}; echo done"
    result = checks.execute(("/bin/sh", "-c", script), GENEROUS_S)
    assert result == checks.CheckResult(True, "exit 0: done")
    wait_for(lambda: not is_running(pid.read_text().strip()))


def test_checks_leave_no_file_open() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        checks.http("127.0.0.1", port, "/", LIMIT_S)
    checks.tcp("127.0.0.1", port, LIMIT_S)
    checks.execute(("/bin/sleep", "5"), 0.05)
    checks.execute(("/bin/true",), 5)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (Check(type="http", path="/up", timeout_ms=50_000), b"HTTP/1.1 200 OK\r\n\r\n"),
        (Check(type="redis", path="", timeout_ms=50_000), b"+PONG\r\n"),
        (Check(type="mysql", path="", timeout_ms=50_000), b"\x03\0\0\0\x0a8\0"),
        (Check(type="tcp", path="", timeout_ms=50_000), b""),
    ],
)
def test_probe_runs_the_services_own_check(check: Check, answer: bytes) -> None:
    service = Service(name="s", port=3000, check=check)
    behave = greeting(answer) if check.type == "mysql" else answering(answer)
    with serving(behave) as port:
        assert checks.probe(service, "127.0.0.1", port).healthy
    assert not checks.probe(service, "127.0.0.1", port).healthy
    if check.type != "tcp":
        with serving(greeting(b"nonsense\r\n")) as port:
            assert not checks.probe(service, "127.0.0.1", port).healthy


def test_an_authority_that_is_not_there_is_a_failure() -> None:
    check = Check("redis", "", role="primary", ca="/nonexistent", timeout_ms=50_000)
    with serving(hanging) as port:
        result = checks.probe(Service("s", 3000, check=check), "127.0.0.1", port)
    assert result == checks.CheckResult(False, "No such file or directory")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"+OK\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n+OK\r\n", "a primary"),
        (b"+OK\r\n*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$4\r\nsync\r\n:1\r\n", "it is a replica"),
        (b"-WRONGPASS invalid\r\n-NOAUTH no\r\n", "answered: -WRONGPASS invalid -NOAUTH no"),
        (b"", "closed without an answer"),
    ],
)
def test_role(answer: bytes, detail: str) -> None:
    check = Check("redis", "", role="primary", user="check", timeout_ms=50_000)
    with serving(answering(answer)) as port:
        result = checks.probe(Service("s", 3000, check=check), "127.0.0.1", port)
    assert result == checks.CheckResult(detail == "a primary", detail)


@given(st.sampled_from(["redis", "mysql"]), st.binary(max_size=60))
def test_whoever_answers_has_no_role(kind: str, data: bytes) -> None:
    check = Check(kind, "", role="replica", user="u", flavour="mariadb", timeout_ms=50_000)
    with serving(answering(data)) as port:
        result = checks.probe(Service("s", 3000, check=check), "127.0.0.1", port)
    assert not result.healthy
    assert result.detail.isprintable()
    assert len(result.detail) <= 200
