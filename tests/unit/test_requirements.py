"""requirements.yml names the collections in use, at the versions that `ansible` contains."""

import json
import re
from pathlib import Path

import ansible_collections
import pytest
import yaml

PROJECT = Path(__file__).parents[2]
COLLECTIONS = yaml.safe_load((PROJECT / "requirements.yml").read_text())["collections"]


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda c: c["name"])
def test_version_is_that_of_the_pinned_package(collection):
    folder = Path(ansible_collections.__path__[0], *collection["name"].split("."))
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    assert manifest["collection_info"]["version"] == collection["version"]


def test_every_collection_in_use_is_named_and_no_other():
    used = set()
    for folder in ("playbooks", "roles"):
        for path in (PROJECT / folder).rglob("*.yml"):
            text = path.read_text()
            used |= set(
                re.findall(r"^\s+((?!ansible\.builtin)\w+\.\w+)\.\w+:$", text, re.MULTILINE)
            )
    assert used == {collection["name"] for collection in COLLECTIONS}
