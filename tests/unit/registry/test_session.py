"""A registry whose names have no address: told once, with the reason, and tried all the time."""

from __future__ import annotations

import logging
import socket

import pytest
from kazoo.protocol.connection import STOP_CONNECTING, ConnectionHandler

from programs import wait_for
from selvage.fields import Fields
from selvage.registry.session import Session
from selvage.registry.settings import parse_settings


def gives_up(self: ConnectionHandler, _: object) -> object:
    """What kazoo 2.8 does when no name has an address."""
    self._expand_client_hosts()
    return STOP_CONNECTING


@pytest.mark.parametrize("kazoo", ["goes on", "gives up"])
def test_names_without_an_address_are_told_once_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kazoo: str
) -> None:
    if kazoo == "gives up":
        monkeypatch.setattr(ConnectionHandler, "_connect_loop", gives_up)
    asked: list[str] = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    clients: list[object] = []
    settings = parse_settings(Fields({"hosts": ["zk1.invalid:2181", "zk2.invalid"]}, ""))
    caplog.set_level(logging.INFO, "selvage")
    session = Session(settings, lambda _: None, clients.append, give_up_s=0.2)
    try:

        def tried_often() -> bool:
            session.follow()
            return len(asked) >= 16 and len(caplog.records) >= 2

        wait_for(tried_often)
    finally:
        session.close()
    said = [r.getMessage() for r in caplog.records if r.name.startswith("selvage")]
    assert said == [
        f'the registry\'s name has no address name={name} reason="Name or service not known"'
        for name in ("zk1.invalid", "zk2.invalid")
    ]
    assert (len(clients) > 1) == (kazoo == "gives up")
