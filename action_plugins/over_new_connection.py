"""One command, then another over a new connection, as one step of each host for itself.

A play would take three tasks, and in between wait for all its hosts. A first command that stands
only if the second one follows in time, such as a firewall's trial, cannot wait for hundreds.

    - name: Switch, come back, and keep it
      over_new_connection:
        first: sh switch     # the task fails where it fails
        then: sh keep        # the task does not fail: `then` in the result says how it went
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

WORDS = ("rc", "stdout", "stderr", "msg")


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible is not typed
    """What Ansible loads. There is no module of that name: both commands are the shell's."""

    _supports_check_mode = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run both commands; the result has `then` with `rc`, or without where nobody came back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, scripts = self.validate_argument_spec(
            {name: {"type": "str", "required": True} for name in ("first", "then")}
        )
        first = self._shell(scripts["first"], task_vars)
        if first.get("rc") != 0:
            words = f"{first.get('stderr', '')} {first.get('msg', '')}"
            return {**result, **first, "failed": True, "msg": " ".join(words.split())}
        try:
            self._connection.reset()
            then = self._shell(scripts["then"], task_vars)
        except AnsibleError as problem:  # whatever kept it from coming back
            then = {"msg": str(problem)}
        return {**result, "changed": True, "then": then}

    def _shell(self, script: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        done = self._execute_module(
            module_name="ansible.legacy.command",
            module_args={"_raw_params": script, "_uses_shell": True},
            task_vars=task_vars,
        )
        return {word: done[word] for word in WORDS if word in done}
