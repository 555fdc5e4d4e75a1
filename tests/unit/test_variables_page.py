"""docs/variables.md says what playbooks/vars/fabric.yml says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_made_from_the_specification():
    made = subprocess.run(
        [sys.executable, DOCS / "variables.py"], capture_output=True, text=True, check=True
    )
    assert (DOCS / "variables.md").read_text() == made.stdout, "run: make variables"
