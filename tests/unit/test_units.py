"""The rules for what systemd runs as root beside a service's own user."""

import re
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).parents[2] / "roles"
# `+`: outside of the sandbox, with all of root's rights.
AS_ROOT = re.compile(r"^Exec\w+=\+(.*)$", re.MULTILINE)
WRITTEN = re.compile(r"(?:> |-f )\{\{ (\S+) \}\}")


def written_as_root(template: Path) -> list[str]:
    """The variables that name the files which root's commands of a unit write or remove."""
    text = template.read_text()
    return [name for line in AS_ROOT.findall(text) for name in WRITTEN.findall(line)]


UNITS = [path for path in sorted(ROLES.glob("*/templates/*.j2")) if written_as_root(path)]


@pytest.mark.parametrize("template", UNITS, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_root_writes_only_where_nobody_else_may(template):
    """A service that owns the folder could put a link in the file's place."""
    variables = yaml.safe_load((template.parents[1] / "vars/main.yml").read_text())
    for name in written_as_root(template):
        paths = [variables[name]] if name in variables else started_files(variables)
        assert paths
        assert {str(Path(path).parent) for path in paths} == {"/run"}


def started_files(variables: dict[str, object]) -> list[str]:
    """Those of a unit that a loop renders, by the names that they have in the role's variables."""
    return [str(value) for name, value in variables.items() if name.endswith("_started")]
