"""One run of the reconciler, timed: `selvage.reconcile.reconcile(settings)`, nothing else."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from selvage.reconciler.reconcile import reconcile
from selvage.reconciler.settings import load
from selvage.registry.connection import connected
from selvage.registry.view import RegistryView


def _main() -> None:
    settings = load(Path(sys.argv[1]))
    began = time.monotonic()
    result = reconcile(settings)
    ended = time.monotonic()
    with connected(settings.registry) as client:
        services = {service.name: service.guards for service in settings.services}
        view = RegistryView(client, settings.registry.root, services)
        view.refresh(60)
        read = time.monotonic()
    print(
        json.dumps(
            {
                "seconds": ended - began,
                "read_s": read - ended,
                "changed": result.changed,
                "problems": result.problems,
            }
        )
    )


if __name__ == "__main__":
    _main()
