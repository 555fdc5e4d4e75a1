from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selvage.catalogue import Breaker, Check, Guards, Service, Timeouts
from selvage.formats.registrations import Registration
from selvage.haproxy import commands
from selvage.haproxy.sections import HEADER, variable_name
from selvage.haproxy.servers import Server, by_name, server_name
from selvage.haproxy.text import fingerprint, options_of, render, section, server_arguments
from strategies import catalogues, names, registrations, servers_in, wanted_server

INVENTORY = Service("inventory", 3000)
MYSQL = Service(
    "my-db",
    3306,
    mode="tcp",
    balance="source",
    check=Check("mysql", "", 1_000, 500, 1, 2, "check"),
    timeouts=Timeouts(1_000, 3_600_000, 7_200_000),
    breaker=Breaker("layer4", 5, "mark-down", 9, 300, 7_000),
)
ONE = Server("inventory_10.0.0.1_80", "10.0.0.1", 80)
TWO = Server("inventory_2001:db8::1_80", "2001:db8::1", 80, 0, True, 7)

TEXT = (
    HEADER
    + """
global
    set-var proc.selvage.inventory str(05a4b4c1e0b9f0d1)
    set-var proc.selvage.my.db str(0000000000000000)

listen inventory
    bind 127.0.0.1:3000
    mode http
    balance roundrobin
    timeout check 1000ms
    option httpchk GET /health
    http-check expect status 200-399
    server inventory_10.0.0.1_80 10.0.0.1:80 weight 1 check inter 2000ms rise 2 fall 3
    server inventory_2001:db8::1_80 [2001:db8::1]:80 weight 0 backup maxconn 7 \
check inter 2000ms rise 2 fall 3

listen my-db
    bind 127.0.0.1:3306
    mode tcp
    option tcplog
    balance source
    hash-type consistent
    timeout connect 1000ms
    timeout client 3600000ms
    timeout server 7200000ms
    timeout check 500ms
    timeout queue 300ms
    retries 1
    option redispatch 1
    tcp-request connection reject if { queue ge 9 }
    option mysql-check user check
"""
)


def expected_text():
    return TEXT.replace("05a4b4c1e0b9f0d1", fingerprint(INVENTORY)).replace(
        "0" * 16, fingerprint(MYSQL)
    )


def test_the_text():
    assert render([INVENTORY, MYSQL], {"inventory": [ONE, TWO]}) == expected_text()


def test_the_text_of_an_empty_catalogue():
    assert render([], {}) == HEADER


def test_where_one_server_waits_for_the_other_to_be_gone_half_a_connection_ends_soon():
    single = replace(MYSQL, guards=replace(MYSQL.guards, max_servers=1))
    assert " timeout client-fin 2000ms\n    timeout server-fin 2000ms\n" in render([single], {})
    assert "fin" not in render([MYSQL], {})


def test_the_options_of_servers():
    assert options_of(MYSQL).servers == (
        "check inter 1000ms rise 1 fall 2 observe layer4 error-limit 5 on-error mark-down"
        " slowstart 7000ms"
    )
    # A breaker knows nothing of sessions that go on; a check does.
    assert options_of(replace(MYSQL, breaker=None)).servers == (
        "check inter 1000ms rise 1 fall 2 on-marked-down shutdown-sessions"
    )
    assert server_arguments(options_of(INVENTORY), TWO) == (
        "[2001:db8::1]:80 weight 0 backup maxconn 7 check inter 2000ms rise 2 fall 3"
    )


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (Check("tcp", ""), None),
        (Check("redis", ""), "    option redis-check\n"),
        (Check("mysql", ""), "    option mysql-check\n"),
        (Check("http", "/a"), "    option httpchk GET /a\n"),
    ],
)
def test_the_check_options(check, line):
    text = render([replace(MYSQL, check=check)], {})
    options = [option for option in text.splitlines(keepends=True) if "option " in option]
    options.remove("    option redispatch 1\n")
    assert options == ["    option tcplog\n", *([line] if line else [])]


def test_a_breaker_repeats_only_what_may_be_repeated():
    service = replace(INVENTORY, breaker=Breaker("layer7", 5))
    lines = render([service], {"inventory": [ONE]}).splitlines()
    rules = [line.strip() for line in lines if "retr" in line or "queue" in line]
    assert rules == [
        "timeout queue 500ms",
        "retries 1",
        "http-request return status 503 hdr Retry-After 1 if { queue ge 100 }",
        "retry-on conn-failure empty-response",
        "http-request disable-l7-retry unless METH_GET or METH_OPTIONS",
    ]
    assert lines[-1].endswith(" fall 3 observe layer7 error-limit 5 on-error mark-down")


CA = "/etc/selvage/tls/ca.pem"


def test_a_check_that_asks_for_a_role_is_a_dialogue():
    check = Check("redis", "", role="primary", user="check", ca=CA)
    text = render([replace(MYSQL, check=check)], {"my-db": [ONE]})
    lines = text.split("    option tcp-check\n")[1].splitlines()
    tls = f"check-ssl ca-file {CA} verify required"
    # A file that no line of the configuration has is refused at runtime.
    assert lines[0] == f"    default-server {tls}"
    assert lines[1] == "    tcp-check send-binary " + (
        b"AUTH check check\r\nROLE\r\nQUIT\r\n".hex()
    )
    assert lines[2] == (
        r"    tcp-check expect comment 'a primary' rstring '^\+OK\r\n\*3\r\n\$6\r\nmaster\r\n'"
    )
    assert options_of(replace(MYSQL, check=check)).servers.startswith(
        f"check inter 2000ms rise 2 fall 3 {tls} observe"
    )
    # The line and the command share one text, and both are read back.
    assert servers_in(text.replace("my-db", "inventory"))["inventory"] == (ONE,)
    arguments = server_arguments(options_of(replace(MYSQL, check=check)), ONE)
    assert commands.add("my-db", "a", arguments).endswith(arguments)


def test_without_a_ca_there_is_no_tls():
    check = Check("redis", "", role="replica")
    text = render([replace(MYSQL, check=check)], {"my-db": [ONE]})
    assert "ssl" not in text
    assert b"ROLE\r\nQUIT\r\n".hex() in text
    assert b"AUTH".hex() not in text


def test_the_dialogue_with_a_database():
    check = Check("mysql", "", role="replica", user="check", flavour="mysql")
    text = render([replace(MYSQL, check=check)], {})
    (login, _, query, row) = text.split("    option tcp-check\n")[1].splitlines()
    assert login.endswith(b"check\0\0caching_sha2_password\0".hex())
    assert query.endswith(b"\x03SELECT @@global.read_only\x01\0\0\0\x01".hex())
    assert row.endswith(r"rstring '\x02\x00\x00\x04\x011'")


@pytest.mark.parametrize(
    "change",
    [{"role": "replica"}, {"user": "other"}, {"user": None}, {"ca": None}, {"ca": "/ca.pem"}],
)
def test_what_a_check_says_is_part_of_the_fingerprint(change):
    check = Check("redis", "", role="primary", user="check", ca=CA)
    services = [replace(MYSQL, check=check), replace(MYSQL, check=replace(check, **change))]
    assert fingerprint(services[0]) != fingerprint(services[1])


def test_server_names_tell_addresses_and_ports_apart():
    assert server_name("a", "10.0.0.1", 80) == "a_10.0.0.1_80"


def test_the_smaller_limit_of_connections_holds():
    registration = Registration("c", "10.0.0.1", 80)
    for by_service, by_registration, expected in (
        (None, None, None),
        (5, None, 5),
        (None, 5, 5),
        (5, 6, 5),
        (6, 5, 5),
    ):
        server = wanted_server(
            replace(INVENTORY, max_connections=by_service),
            replace(registration, max_connections=by_registration),
        )
        assert server.max_connections == expected


def test_a_registered_weight_of_zero_is_zero():
    registration = Registration("c", "10.0.0.1", 80)
    assert wanted_server(INVENTORY, registration).weight == 1
    assert wanted_server(INVENTORY, replace(registration, weight=0)).weight == 0


@pytest.mark.parametrize(
    "change",
    [
        {"port": 3001},
        {"mode": "tcp"},
        {"balance": "first"},
        {"check": Check(path="/")},
        {"check": Check(interval_ms=1)},
        {"check": Check(timeout_ms=1)},
        {"check": Check(rise=1)},
        {"check": Check(fall=1)},
        {"timeouts": Timeouts(connect_ms=1)},
        {"timeouts": Timeouts(client_ms=1)},
        {"timeouts": Timeouts(server_ms=1)},
        {"breaker": Breaker("layer4", 5)},
        {"breaker": Breaker("layer4", 5, queue=1)},
    ],
)
def test_what_needs_a_reload_changes_the_fingerprint(change):
    assert fingerprint(replace(INVENTORY, **change)) != fingerprint(INVENTORY)


@pytest.mark.parametrize(
    "change",
    [{"instance_port": 1}, {"max_connections": 1}, {"drain_ms": 1}, {"guards": Guards(True)}],
)
def test_what_needs_no_reload_does_not(change):
    assert fingerprint(replace(INVENTORY, **change)) == fingerprint(INVENTORY)


@given(st.lists(names, unique=True))
def test_variables_are_unique_and_in_haproxys_grammar(services):
    variables = {variable_name(service) for service in services}
    assert len(variables) == len(services)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.") for name in variables)


@given(catalogues(), st.data())
def test_servers_survive_the_file(services, data):
    servers = {
        service.name: [
            wanted_server(service, registration)
            for registration in data.draw(
                st.lists(registrations, max_size=4, unique_by=lambda r: (r.address, r.port))
            )
        ]
        for service in services
    }
    text = render(services, servers)
    assert servers_in(text) == {name: by_name(s) for name, s in servers.items()}
    for service in services:
        own = servers.get(service.name, ())
        assert section(service.name, options_of(service), own).servers == by_name(own)
    assert render(services[::-1], {n: s[::-1] for n, s in reversed(servers.items())}) == text


LINE = "    server inventory_10.0.0.1_80 10.0.0.1:80 weight 1 check inter 2000ms rise 2 fall 3"


def test_a_line_counts_without_its_section_being_whole():
    assert servers_in(f"listen inventory\n{LINE}\n") == {"inventory": (ONE,)}
    assert servers_in(f"listen inventory\n{LINE}\n{LINE}\n") == {"inventory": (ONE,)}


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("inventory_10.0.0.1_80", "other_10.0.0.1_80"),
        LINE.replace("inventory_10.0.0.1_80", "inventory_10.0.0.2_80"),
        LINE.replace(":80 ", ":080 "),
        LINE.replace("_80 ", "_99999 ").replace(":80 ", ":99999 "),
        LINE.replace("_80 ", "_0 ").replace(":80 ", ":0 "),
        LINE.replace("weight 1", "weight 257"),
        LINE.replace("weight 1", "weight 01"),
        LINE.replace("weight 1", "weight 1 maxconn 0"),
        LINE.replace("weight 1", "weight 1 disabled disabled"),
        LINE.replace("10.0.0.1", "0.0.0.0"),
        LINE.replace("10.0.0.1", "db1"),
        LINE.replace("10.0.0.1:80", "[10.0.0.1]:80"),
        LINE.replace("    server", "    #server"),
        LINE[:40],
        "",
        "    server",
    ],
)
def test_damaged_lines_are_skipped(line):
    text = f"listen inventory\n{line}\n{LINE.replace('.1', '.9')}\n"
    assert [s.name for s in servers_in(text)["inventory"]] == ["inventory_10.0.0.9_80"]


@pytest.mark.parametrize("head", ["", "global\n", "listen Inventory\n", "listen\n", "frontend a\n"])
def test_servers_outside_a_section_of_ours_are_skipped(head):
    assert servers_in(f"{head}{LINE}\n") == {}


@given(st.text())
def test_any_text_is_read(text):
    servers_in(text)
    assert set(servers_in(f"listen a\n    {text}")) >= {"a"}


@given(catalogues(), st.integers(0, 3_000))
def test_half_a_file_gives_only_what_stands_there(services, cut):
    found = [Registration("a", "10.0.0.1", 80), Registration("b", "2001:db8::1", 80)]
    servers = {
        service.name: tuple(wanted_server(service, registration) for registration in found)
        for service in services
    }
    for name, kept in servers_in(render(services, servers)[:cut]).items():
        assert set(kept) <= set(servers.get(name, ()))
