"""Prints the catalogue of a reconciler's configuration, each service with its servers."""

import json
import sys
from pathlib import Path

from kazoo.client import KazooClient

document = json.loads(Path(sys.argv[1]).read_text())
client = KazooClient(",".join(document["registry"]["hosts"]))
client.start()
for service in document["services"]:
    path = f"{document['registry'].get('root', '/services')}/{service['name']}"
    children = client.get_children(path) if client.exists(path) else []
    data = [client.get(f"{path}/{child}")[0] for child in sorted(children)]
    service["servers"] = [json.loads(entry) for entry in data]
client.stop()
print(json.dumps(document["services"]))
