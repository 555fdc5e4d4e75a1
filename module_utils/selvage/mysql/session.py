"""One connection to a server of MariaDB or MySQL, from this host or over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from . import flavours

if TYPE_CHECKING:
    from pymysql.connections import Connection


_ACCESS_DENIED: Final = 1045


class SqlError(Exception):
    """What a server, or the way to it, answered instead; one line."""

    def __init__(self, error: object, number: int = 0) -> None:
        super().__init__(" ".join(str(error).split())[:300])
        self.number = number


def _told(error: Exception) -> SqlError:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    return SqlError(error.args[-1] if error.args else error, number)


@dataclass(frozen=True)
class Source:
    """Where a replica gets its data."""

    name: str
    address: str
    port: int
    password: str = field(repr=False)
    ca: str
    user: str = "replication"


class Session:
    """Statements, one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.flavour = flavours.of(str(connection.get_server_info()))

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What the server answers; raises `SqlError`."""
        import pymysql

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        except pymysql.err.Error as error:
            raise _told(error) from error

    def value(self, expression: str, *values: object) -> int | str | None:
        """One value."""
        found: int | str | None = self.rows(f"SELECT {expression} AS value", *values)[0]["value"]
        return found

    def close(self) -> None:
        """Locks that it holds are free with it."""
        self._connection.close()


@contextmanager
def local(socket: str, timeout_s: int) -> Iterator[Session]:
    """As root, whom the server knows by the user of the process."""
    with _connected(timeout_s, unix_socket=socket, user="root") as session:
        # What a replica is told of its source has a password in it.
        session.rows(session.flavour.quiet)
        yield session


@contextmanager
def by_file(socket: str, options: str, timeout_s: int) -> Iterator[Session]:
    """As the account in a file of role mysql's for `mariadb-backup`."""
    account = {"read_default_file": options, "read_default_group": "mariadb-backup"}
    with _connected(timeout_s, unix_socket=socket, **account) as session:
        yield session


@contextmanager
def remote(source: Source, timeout_s: int) -> Iterator[Session]:
    """As its replicas come in: over TLS, with a certificate for that address."""
    try:
        context = ssl.create_default_context(cafile=source.ca)
    except OSError as error:
        raise SqlError(f"{source.ca}: {error}") from error
    # Python's own since 3.13: it refuses CAs that the servers themselves take.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    place = {"host": source.address, "port": source.port, "ssl": context}
    account = {"user": source.user, "password": source.password}
    with _connected(timeout_s, **place, **account) as session:
        yield session


def known(given: Mapping[str, Any], timeout_s: int) -> Source:
    """A source with the first of its `passwords` that it knows: while they rotate there are two."""
    place = {name: value for name, value in given.items() if name != "passwords"}
    new, *former = [Source(**place, password=password) for password in given["passwords"]]
    try:
        if former:
            with remote(new, timeout_s):
                pass
    except SqlError as error:
        if error.number == _ACCESS_DENIED:
            return former[0]
    return new


@contextmanager
def _connected(timeout_s: int, **place: object) -> Iterator[Session]:
    import pymysql

    try:
        connection = pymysql.connect(
            **place,
            autocommit=True,
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            write_timeout=timeout_s,
            cursorclass=pymysql.cursors.DictCursor,
        )
    except (pymysql.err.Error, OSError) as error:
        raise _told(error) from error
    session = Session(connection)
    try:
        yield session
    finally:
        # A connection that the server ended is closed already.
        if connection.open:
            session.close()
