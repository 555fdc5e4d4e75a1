"""Commands on their way to HAProxy: sent and counted, or only listed by a dry run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...haproxy.commands import CommandRefused
from ...haproxy.runtime import Runtime


@dataclass
class Sender:
    """`commands` are those sent, or listed; `denied` what HAProxy would not do, by server."""

    runtime: Runtime
    dry_run: bool
    count: Callable[[str], None]
    commands: list[str] = field(default_factory=list)
    denied: list[tuple[str, str]] = field(default_factory=list)

    def send(self, kind: str, server: str, line: str) -> None:
        """Send a line of commands for a server. Raises `HAProxyUnavailable`."""
        self.commands.append(line)
        if self.dry_run:
            return
        self.count(f'steps_total{{step="{kind}"}}')
        try:
            self.runtime.execute(line)
        except CommandRefused as refused:
            # A server that is still in use is deleted later.
            if not refused.busy:
                self.denied.append((server, str(refused)))
