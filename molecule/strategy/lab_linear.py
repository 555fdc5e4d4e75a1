"""Ansible's strategy `linear` over Mitogen: one Python per host for a whole run, not one per task.

A lab's hosts share the cores of one computer, and most of what a run costs there is the start of a
Python and the compiling of Ansible's own code, again for each task. Mitogen finds what a module
imports by its absolute imports only; Selvage's package imports relatively, because the daemons
have it under another name, so the search here follows both.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import resolve_name
from pathlib import Path

from ansible.plugins.strategy.linear import StrategyModule as Linear
from ansible_mitogen import module_finder
from ansible_mitogen.strategy import StrategyMixin
from mitogen.imports import codeobj_imports

UTILS = "ansible.module_utils"


def imported(spec: ModuleSpec) -> Iterator[str]:
    """What may be a module below `UTILS`, parents first: a leaf may also be a function."""
    assert spec.origin
    code = compile(Path(spec.origin).read_bytes(), spec.origin, "exec")
    package = spec.name if spec.submodule_search_locations is not None else spec.parent
    for level, name, leaves in codeobj_imports(code):
        base = resolve_name("." * level + name, package)
        for full in (base, *(f"{base}.{leaf}" for leaf in leaves)):
            parts = full.removeprefix(f"{UTILS}.").split(".") if full.startswith(UTILS) else []
            for end in range(1, len(parts) + 1):
                yield ".".join((UTILS, *parts[:end]))


def scan(
    module_name: str, module_path: str, search_path: tuple[str, ...]
) -> list[tuple[str, str, bool]]:
    """(name, path, whether it is a package) of each that the module needs, as Mitogen asks for."""
    root = ModuleSpec(UTILS, None, is_package=True)
    root.submodule_search_locations = list(search_path)
    specs: dict[str, ModuleSpec | None] = {UTILS: root}
    queue = [ModuleSpec(module_name, None, origin=module_path)]
    while queue:
        for name in imported(queue.pop()):
            if name in specs:
                continue
            parent = specs.get(name.rpartition(".")[0])
            folders = parent.submodule_search_locations if parent else None
            found = PathFinder.find_spec(name, folders) if folders else None
            specs[name] = found if found and found.has_location else None
            if found and found.has_location:
                queue.append(found)
    return sorted(
        (spec.name, spec.origin, spec.submodule_search_locations is not None)
        for spec in specs.values()
        if spec and spec.origin
    )


module_finder.scan = scan


class StrategyModule(StrategyMixin, Linear):  # type: ignore[misc]  # neither has types
    """`strategy: lab_linear`."""
