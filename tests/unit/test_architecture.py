"""The picture in docs/architecture.md is the code's: who imports whom, and nobody in a circle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "module_utils" / "selvage"


def modules():
    """Each module with those that it imports, as paths of names below the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {name(path): {*imported(path)} for path in paths if path.name != "__init__.py"}


def name(path):
    return path.relative_to(PACKAGE).with_suffix("").parts


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        above = name(path)[: -node.level]
        place = (*above, *(node.module.split(".") if node.module else ()))
        for alias in node.names:
            inner = (*place, alias.name)
            yield inner if PACKAGE.joinpath(*inner).with_suffix(".py").exists() else place


def rooms():
    """Each folder or file of the package with those that it imports from."""
    found = {}
    for module, others in modules().items():
        found.setdefault(module[0], set()).update(other[0] for other in others)
    return {room: others - {room} for room, others in found.items()}


def reached(graph, start):
    """Everything that is imported from there, directly or by others."""
    found, todo = set(), [*graph[start]]
    while todo:
        if (one := todo.pop()) not in found:
            found.add(one)
            todo += graph[one]
    return found


def test_no_module_imports_itself_by_others():
    graph = modules()
    assert [module for module in graph if module in reached(graph, module)] == []


def test_the_picture_shows_who_imports_whom():
    """An arrow that follows from others is left out."""
    graph = rooms()
    direct = {
        (room, other)
        for room, others in graph.items()
        for other in others
        if not any(other in reached(graph, between) for between in others - {other})
    }
    text = (ROOT / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", picture, re.MULTILINE))
    assert drawn == {(room.strip("_"), other) for room, other in direct}


def test_every_room_and_stage_has_its_line():
    text = (ROOT / "docs" / "architecture.md").read_text()
    told = set(re.findall(r"^\| `([\w/]+)(?:\.py)?/?` \|", text, re.MULTILINE))
    stages = {path.stem for path in (PACKAGE / "reconciler" / "stages").glob("*.py")}
    assert told == {*rooms(), *(f"stages/{stage}" for stage in stages - {"__init__"})}
