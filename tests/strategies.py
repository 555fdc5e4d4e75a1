"""What a fabric may hold, for property tests: catalogues, znodes, registrations, live states."""

import base64
import json
from copy import deepcopy
from dataclasses import replace

from hypothesis import strategies as st

from reading import read
from selvage.catalogue import Service, parse_services
from selvage.formats.grammar import MAX_WEIGHT, MIN_WEIGHT, parse_address
from selvage.formats.registrations import Reading, Registration, Rules
from selvage.haproxy.sections import assemble, split
from selvage.haproxy.servers import LiveServer, LiveService, Server
from selvage.haproxy.text import fingerprint, render
from selvage.planning.circumstances import Circumstances
from selvage.planning.drift import edited
from selvage.planning.plan import make_plan
from selvage.planning.wanted import wanted_servers

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,12}", fullmatch=True)
ports = st.integers(1, 65_535)
durations = st.sampled_from(["50ms", "500ms", "2s", "1m"])


def optional(**fields):
    return st.fixed_dictionaries({}, optional=fields)


users = st.from_regex(r"[A-Za-z0-9._-]{1,32}", fullmatch=True)
roles = st.sampled_from(["primary", "replica"])
CA_FILE = "/etc/selvage/tls/ca.pem"
checks = {
    "http": optional(
        type=st.just("http"), path=st.from_regex(r"/[A-Za-z0-9._~:@&=+,%/?-]{0,40}", fullmatch=True)
    ),
    "tcp": st.fixed_dictionaries({"type": st.just("tcp")}),
    "mysql": st.fixed_dictionaries({"type": st.just("mysql")}, optional={"user": users})
    | st.fixed_dictionaries(
        {"type": st.just("mysql"), "role": roles, "user": users},
        optional={"flavour": st.sampled_from(["mariadb", "mysql"])},
    ),
    "redis": st.fixed_dictionaries({"type": st.just("redis")})
    | st.fixed_dictionaries(
        {"type": st.just("redis"), "role": roles},
        optional={"user": users, "ca": st.just(CA_FILE)},
    ),
}


@st.composite
def definitions(draw):
    """One entry of the catalogue, without name and port."""
    mode = draw(st.sampled_from(["http", "tcp"]))
    kind = draw(st.sampled_from(["http", "tcp"] if mode == "http" else list(checks)))
    check = draw(checks[kind]) | draw(
        optional(
            interval=durations,
            timeout=durations,
            rise=st.integers(1, 9),
            fall=ports.map(lambda n: n % 9 + 1),
        )
    )
    if kind == "http":
        check["type"] = "http"
    observes = ["layer4", "layer7"] if mode == "http" else ["layer4"]
    breakers = st.fixed_dictionaries(
        {
            "max_connections": st.just(1_000_000),
            "breaker": st.fixed_dictionaries(
                {"error_limit": st.integers(1, 10)},
                optional={
                    "observe": st.sampled_from(observes),
                    "queue": st.integers(1, 1_000_000),
                    "wait": st.sampled_from(["10ms", "1s"]),
                    "slow_start": st.sampled_from(["0s", "1m"]),
                },
            ),
        }
    )
    return {
        "mode": mode,
        "check": check,
        **draw(
            optional(
                balance=st.sampled_from(["roundrobin", "leastconn", "first", "random", "source"]),
                instance_port=ports,
                max_connections=st.integers(1, 1_000_000),
                drain=durations,
                timeouts=optional(connect=durations, client=durations, server=durations),
                guards=optional(
                    allow_empty=st.booleans(),
                    min_servers=st.integers(1, 4),
                    max_loss=st.integers(1, 100),
                ),
                zone=optional(others=st.sampled_from(["equal", "backup", "weighted"])),
            )
        ),
        **(draw(st.just({}) | breakers) if "role" not in check else {}),
    }


@st.composite
def catalogues(draw, max_size=4):
    entries = draw(
        st.lists(
            st.tuples(names, ports), unique_by=(lambda e: e[0], lambda e: e[1]), max_size=max_size
        )
    )
    return parse_services(
        [{"name": name, "port": port, **draw(definitions())} for name, port in entries]
    )


def _is_address(text):
    try:
        return parse_address(text) == text
    except ValueError:
        return False


addresses = st.one_of(
    st.integers(0, 255).map(lambda n: f"10.0.0.{n}"),
    st.ip_addresses().map(str).filter(_is_address),
)
words = st.from_regex(r"[A-Za-z0-9._:-]{1,12}", fullmatch=True)

registrations = st.builds(
    Registration,
    child=words,
    address=addresses,
    port=ports,
    weight=st.none() | st.integers(0, MAX_WEIGHT) | st.floats(MIN_WEIGHT, MAX_WEIGHT),
    backup=st.booleans(),
    max_connections=st.none() | st.integers(1, 1_000_000),
    labels=st.dictionaries(words, words, max_size=3),
)

zones = st.fixed_dictionaries({"zone": st.sampled_from(["a", "b"])})

nerve_documents = st.fixed_dictionaries(
    {"host": addresses, "port": ports},
    optional={
        "name": words,
        "weight": st.integers(0, MAX_WEIGHT),
        "labels": st.dictionaries(words, words, max_size=3) | zones,
        "haproxy_server_options": st.sampled_from(["backup", "maxconn 7", "backup maxconn 7", ""]),
    },
)


# The names that the tests' resolver knows, and one that it does not.
ADDRESSES = {"app1": "10.0.0.1", "db-2.example.org": "10.0.0.2", "2.example.org": "2001:db8::2"}
hosts = addresses | st.sampled_from([*ADDRESSES, "unknown.example.org"])
texts = words | st.text(max_size=9)
metadata = st.dictionaries(texts, texts | st.integers(), max_size=3)

curator_documents = st.fixed_dictionaries(
    {"address": hosts, "port": ports},
    optional={
        "name": words,
        "id": words,
        "sslPort": st.none() | ports,
        "payload": st.none()
        | texts
        | st.integers()
        | st.builds(
            lambda values, status: {"@class": "Z", "metadata": values | status},
            metadata,
            optional(instance_status=st.sampled_from(["UP", "", "OUT_OF_SERVICE", "DOWN"])),
        ),
        "registrationTimeUTC": st.integers(0, 2**41),
        "serviceType": st.sampled_from(["DYNAMIC", "STATIC", "PERMANENT", "DYNAMIC_SEQUENTIAL"]),
        "uriSpec": st.none() | st.just({"parts": [{"value": "scheme", "variable": True}]}),
        "enabled": st.booleans(),
    },
)

endpoints = st.fixed_dictionaries(
    {"host": hosts, "port": ports}, optional={"inet": st.just("10.0.0.3")}
)
member_documents = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["ALIVE", "ALIVE", "ALIVE", "DEAD", "STARTING", "WARNING"]),
        "serviceEndpoint": endpoints,
        "additionalEndpoints": st.dictionaries(
            st.sampled_from(["http", "admin"]), endpoints, max_size=2
        ),
    },
    optional={"shard": st.none() | st.integers(0, 3), "member_id": ports, "metadata": metadata},
)
selectors = st.one_of(
    st.integers(0, 3).map(lambda shard: f"shard={shard}"),
    st.integers(0, 3).map(lambda number: f"member=member_{number:010}"),
    st.tuples(hosts, ports).map(lambda endpoint: f"inet={bare(*endpoint)}"),
)
vector_documents = st.builds(
    lambda weights: {"vector": [{"select": selector, **rest} for selector, rest in weights]},
    st.lists(
        st.tuples(
            selectors,
            optional(
                weight=st.integers(0, MAX_WEIGHT) | st.floats(0, MAX_WEIGHT),
                priority=st.integers(0, 9),
            ),
        ),
        max_size=3,
        unique_by=lambda weight: weight[0].lower(),
    ),
)


def encoded(document, sequence=1):
    """nerve's JSON as a child's name."""
    text = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()
    return f"base64_{len(text)}_{text}_{sequence:010}"


def bare(address, port):
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}"


members = st.integers(0, 3).map(lambda number: f"member_{number:010}")
vectors = st.integers(0, 3).map(lambda number: f"vector_{number:010}")
valid_znodes = st.one_of(
    st.builds(bare, addresses, ports).map(lambda child: (child, b"")),
    addresses.map(lambda address: (address, b"")),
    st.tuples(words, nerve_documents.map(lambda d: json.dumps(d).encode())),
    nerve_documents.map(lambda d: (encoded(d), b"")),
    st.tuples(words, curator_documents.map(lambda d: json.dumps(d).encode())),
    st.tuples(members, member_documents.map(lambda d: json.dumps(d).encode())),
    st.tuples(vectors, vector_documents.map(lambda d: json.dumps(d).encode())),
)

# Near misses: valid documents with one field of anything, and what injects directives elsewhere.
hostile_text = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(codec=None), max_size=20),
    st.sampled_from(
        [
            "a\n    server evil 10.6.6.6:80",
            "10.0.0.1\nglobal",
            "x; disable server a/b",
            "10.0.0.1 backup",
            " 10.0.0.1",
            "0.0.0.0",
            "::",
            "fe80::1%eth0",
            "localhost",
            "%",
            "${HOME}",
            "check-sni evil",
            "weight 5 ; shutdown",
            "backup\u00a0",
        ]
    ),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile_text, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def hostile_documents(draw):
    """A valid document of any format, one value in it replaced by anything, or one added."""
    formats = st.one_of(nerve_documents, curator_documents, member_documents, vector_documents)
    # What `just` draws is the same object each time.
    document = target = deepcopy(draw(formats))
    while True:
        inner = list(target.values() if isinstance(target, dict) else target)
        inner = [value for value in inner if isinstance(value, dict | list) and value]
        if not inner or draw(st.booleans()):
            break
        target = draw(st.sampled_from(inner))
    if isinstance(target, dict):
        target[draw(st.sampled_from(sorted(target)) | hostile_text)] = draw(anything)
    else:
        target[draw(st.integers(0, len(target) - 1))] = draw(anything)
    return document


znodes = st.one_of(
    valid_znodes,
    st.tuples(words | members | vectors, hostile_documents().map(lambda d: json.dumps(d).encode())),
    hostile_documents().map(lambda d: (encoded(d), b"")),
    st.tuples(hostile_text, st.binary(max_size=40)),
    hostile_text.map(lambda child: (child, b"")),
)


def wanted_server(service, registration):
    """The server of a registration that is alone in its service."""
    (server,) = wanted_servers(service, [registration])
    return server


class Everyone(dict):
    """Probes that all passed."""

    def get(self, *_):
        return True


def plan_world(services, readings, live, current, **node):
    """The plan for all services, with `current` as the text of the services file."""
    circumstances = {"edited": edited(services, current), "probed": Everyone(), **node}
    return make_plan(services, readings, live, split(current), Circumstances(**circumstances))


def text_of(plan):
    """The services file that a plan for all services wants."""
    return assemble(plan.sections)


def servers_in(text):
    """The servers in a services file, by service."""
    return {name: section.servers for name, section in split(text).items()}


def live_server(server, **state):
    """The server as HAProxy runs it: up, checked, in traffic, unless `state` differs."""
    healthy = LiveServer(
        name=server.name,
        address=server.address,
        port=server.port,
        weight=server.weight,
        backup=server.backup,
        max_connections=server.max_connections,
        up=True,
        checked=True,
        maintenance=False,
        draining=False,
        sessions=0,
    )
    return replace(healthy, **state)


def live_service(service: Service, *servers: LiveServer) -> LiveService:
    return LiveService(service.name, fingerprint(service), servers)


@st.composite
def live_services(draw, service, known=()):
    """Any state in which earlier runs, kills and hands may have left a service of ours."""
    others = st.builds(lambda registration: wanted_server(service, registration), registrations)
    found = draw(
        st.lists(
            others | st.sampled_from(known) if known else others,
            max_size=4,
            unique_by=lambda server: server.name,
        )
    )
    states = optional(
        up=st.booleans(),
        checked=st.booleans(),
        maintenance=st.booleans(),
        draining=st.booleans(),
        weight=st.integers(0, 256),
        backup=st.booleans(),
        max_connections=st.none() | st.integers(1, 99),
        address=addresses,
        sessions=st.integers(0, 9),
    )
    mark = draw(mostly(fingerprint(service), "0" * 16, None))
    frontend = draw(mostly("open", "disabled", "shut down", "given the limit 0"))
    servers = tuple(live_server(server, **draw(st.just({}) | states)) for server in found)
    return LiveService(service.name, mark, servers, frontend)


def as_wanted(found):
    return Server(
        found.name, found.address, found.port, found.weight, found.backup, found.max_connections
    )


def mostly(usual, *others):
    """The usual one in three of four cases."""
    return st.sampled_from([*[usual] * 3 * max(1, len(others)), *others])


@st.composite
def worlds(draw):
    """A catalogue, what the registry holds, what HAProxy runs and what the file says."""
    services = draw(catalogues(max_size=3))
    readings, live, filed = {}, {}, {}
    for service in services:
        found = dict(draw(st.lists(valid_znodes | znodes, max_size=4)))
        reading = read(found, Rules(service.instance_port, None), ADDRESSES)
        readings[service.name] = draw(mostly(reading, Reading(failure="it could not be read")))
        known = [wanted_server(service, r) for r in reading.registrations]
        if draw(mostly(True, False)):
            live[service.name] = draw(live_services(service, known))
        servers = live[service.name].servers if service.name in live else ()
        choice = {server.name: server for server in (*known, *map(as_wanted, servers))}
        left_out = draw(st.sets(st.sampled_from(sorted(choice)))) if choice else set()
        filed[service.name] = [choice[name] for name in sorted(choice.keys() - left_out)]
    current = draw(mostly(render(services, filed), "", "damaged\n"))
    return services, readings, draw(mostly(live, None)), current


@st.composite
def circumstances(draw, world):
    """What else plans depend on: the fields of `Circumstances`, about the servers of this world."""
    services, readings, live, current = world
    names = {server.name for servers in servers_in(current).values() for server in servers}
    names |= {server.name for found in (live or {}).values() for server in found.servers}
    for service in services:
        found = readings[service.name].registrations
        names |= {wanted_server(service, registration).name for registration in found}
    some = st.sets(st.sampled_from(sorted(names))) if names else st.just(set())
    known = st.sampled_from([service.name for service in services]) if services else st.nothing()
    return {
        "zone": draw(st.none() | st.sampled_from(["a", "b"])),
        "peaks": draw(st.dictionaries(known, st.integers(0, 9))),
        "maintained": draw(some),
        "probed": dict.fromkeys(draw(some), False) | dict.fromkeys(draw(some), True),
        "begun": draw(some),
        "released": draw(st.sets(known)),
    }


@st.composite
def worlds_with_circumstances(draw):
    world = draw(worlds())
    return world, draw(circumstances(world))
