"""One server, as it described itself: what `library/mysql_look.py` brings becomes a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..fields import Invalid
from . import flavours, gtid
from .flavours import Flavour
from .gtid import History

# Whoever has others holds somebody's data. `selvage` holds the cluster's name.
SYSTEM_DATABASES: Final = frozenset(
    {"information_schema", "mysql", "performance_schema", "sys", "test", "selvage"}
)
_VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.[0-9]{1,3}")
# Who owns a GTID that is not committed yet.
_THREAD: Final = re.compile(r"#[0-9]+")
# What MariaDB and MySQL until 8.0 call otherwise than MySQL since.
_RENAMED: Final = {
    "Master_Host": "Source_Host",
    "Master_Port": "Source_Port",
    "Slave_IO_Running": "Replica_IO_Running",
    "Slave_SQL_Running": "Replica_SQL_Running",
    "Seconds_Behind_Master": "Seconds_Behind_Source",
}
# The source does not know the account or its password: as when that changed.
_NO_ENTRY: Final = frozenset({1044, 1045, 1130, 1698})
# The source is away, or asks for patience: the replica tries again by itself.
_PASSING: Final = frozenset({1040, 1053, 1158, 1159, 1160, 1161, 2002, 2003, 2006, 2013})


@dataclass(frozen=True)
class Replication:
    """What a replica says of itself."""

    source: str
    port: int
    # Connected, or trying to be.
    receiving: bool
    connected: bool
    applying: bool
    # None while nobody knows it: a stopped or unconnected replica has no lag.
    lag_s: int | None
    # What does not mend itself.
    error: str | None
    # Why the source does not let it in: an account or a password that changed.
    no_entry: str | None
    # What came over from the source, applied or not.
    received: History

    @property
    def runs(self) -> bool:
        """Both of its threads do."""
        return self.connected and self.applying


@dataclass(frozen=True)
class Server:
    """A member of a cluster."""

    name: str
    address: str
    port: int
    # Why it says nothing else; the rest is then without meaning.
    problem: str | None = None
    # Its data are none yet: a seeding was interrupted.
    seeding: bool = False
    flavour: Flavour = flavours.MARIADB
    # None where no server runs yet.
    version: tuple[int, int] | None = None
    server_id: int = 0
    read_only: bool = True
    # Its commits wait for a replica.
    waits: bool = False
    # Which cluster its data belong to; None for a server that is new, and for other people's data.
    cluster: str | None = None
    databases: tuple[str, ...] = ()
    history: History = gtid.NOTHING
    replication: Replication | None = None

    @property
    def fresh(self) -> bool:
        """It never had any data; what the package put there is nobody's."""
        return (
            self.cluster is None
            and not self.databases
            and not self.history
            and self.replication is None
        )

    @property
    def holds_data(self) -> bool:
        """It answers, and what it has is to be kept."""
        return self.problem is None and not self.seeding and not self.fresh

    @property
    def received(self) -> History:
        """All that it has, also what it has not applied."""
        if self.replication is None:
            return self.history
        return together(self.history, self.replication.received)


def together(one: History, other: History) -> History:
    """Both histories of one server."""
    if isinstance(one, gtid.MariaHistory) and isinstance(other, gtid.MariaHistory):
        return one | other
    if isinstance(one, gtid.GtidSet) and isinstance(other, gtid.GtidSet):
        return one | other
    raise Invalid("a server has GTIDs of MariaDB and of MySQL")


def parse(name: str, address: str, port: int, said: Mapping[str, Any]) -> Server:
    """A server from what it said; what does not fit is a problem of that server's."""
    try:
        return _parse(name, address, port, said)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return Server(name, address, port, problem=f"its answer is not understood: {error!s:.200}")


def _parse(name: str, address: str, port: int, said: Mapping[str, Any]) -> Server:
    if said["seeding"]:
        return Server(name, address, port, seeding=True)
    if said["problem"] is not None:
        return Server(name, address, port, problem=str(said["problem"]))
    if not said["data"]:
        return Server(name, address, port)
    variables = said["variables"]
    match = _VERSION.match(variables["version"])
    if match is None:
        raise Invalid(f"version {variables['version']!r:.80}")
    flavour = flavours.of(variables["version"])
    history = flavour.history(*(variables[name] for name in flavour.positions))
    # What MySQL's primary is about to commit: a replica that acknowledged it may have it before.
    begun = flavour.history(_THREAD.sub("", variables.get("gtid_owned", "")))
    rows = said["replication"]
    if len(rows) > 1:
        raise Invalid(f"it replicates from {len(rows)} sources, and a member has one")
    return Server(
        name,
        address,
        port,
        flavour=flavour,
        version=(int(match[1]), int(match[2])),
        server_id=int(variables["server_id"]),
        read_only=_is_on(variables["read_only"]),
        waits=_is_on(variables.get(flavour.semi_sync, "OFF")),
        cluster=said["cluster"],
        databases=tuple(sorted(each for each in said["databases"] if each not in SYSTEM_DATABASES)),
        history=history if rows else together(history, begun),
        replication=replication(rows[0], flavour) if rows else None,
    )


def _is_on(value: object) -> bool:
    return str(value) in ("1", "ON")


def replication(row: Mapping[str, Any], flavour: Flavour) -> Replication:
    """One row of what that flavour says of its sources."""
    row = {_RENAMED.get(key, key): value for key, value in row.items()}
    io, lag = row["Replica_IO_Running"], row["Seconds_Behind_Source"]
    return Replication(
        source=row["Source_Host"],
        port=int(row["Source_Port"]),
        receiving=io != "No",
        connected=io == "Yes",
        applying=row["Replica_SQL_Running"] == "Yes",
        lag_s=None if lag in (None, "NULL") else int(lag),
        error=_error(row, "SQL") or _error(row, "IO", but=_PASSING | _NO_ENTRY),
        no_entry=_error(row, "IO", only=_NO_ENTRY),
        received=flavour.history(row[flavour.received] or ""),
    )


def _error(
    row: Mapping[str, Any],
    thread: str,
    but: frozenset[int] = frozenset(),
    only: frozenset[int] | None = None,
) -> str | None:
    number = int(row[f"Last_{thread}_Errno"])
    if not number or number in but or (only is not None and number not in only):
        return None
    words = " ".join(str(row[f"Last_{thread}_Error"]).split())
    return f"{number}: {words}"[:300]
