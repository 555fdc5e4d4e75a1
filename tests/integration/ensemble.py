"""Three ZooKeeper servers on loopback that elect a leader."""

from __future__ import annotations

import signal

from programs import SMALL, ZooKeeper, free_port, wait_for


class Ensemble:
    """Who ends or stops a member calls `heal` afterwards."""

    def __init__(self) -> None:
        self.members = [ZooKeeper() for _ in range(3)]
        servers = "".join(
            f"server.{number}=127.0.0.1:{free_port()}:{free_port()}\n" for number in (1, 2, 3)
        )
        for number, member in enumerate(self.members, 1):
            with (member.folder / "zoo.cfg").open("a") as file:
                file.write(f"initLimit=100\nsyncLimit=50\n{servers}")
            (member.folder / "data").mkdir()
            (member.folder / "data" / "myid").write_text(f"{number}\n")

    @property
    def hosts(self) -> list[str]:
        return [member.host for member in self.members]

    @property
    def leader(self) -> ZooKeeper:
        found: list[ZooKeeper] = []

        def look() -> bool:
            found[:] = [m for m in self.members if "Mode: leader" in m.command("srvr")]
            return bool(found)

        wait_for(look)
        return found[0]

    @property
    def followers(self) -> list[ZooKeeper]:
        leader = self.leader
        return [member for member in self.members if member is not leader]

    def heal(self) -> None:
        """Every member runs, and serves."""
        for member in self.members:
            if member.process is None:
                member.launch(*SMALL)
            else:
                member.send(signal.SIGCONT)
        for member in self.members:
            wait_for(lambda member=member: "Mode:" in member.command("srvr"), 120)

    def close(self) -> None:
        for member in self.members:
            member.close()
