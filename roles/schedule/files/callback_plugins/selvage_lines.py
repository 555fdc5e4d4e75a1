"""Ansible's report of a run, for a log that grows by a run each minute.

A line `HOST changed|failed|unreachable|warning: TEXT` for each host that has news, and one at the
end that starts with `hosts=`. `selvage-reconcile` reads these lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.plugins.callback import CallbackBase

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import TaskResult

DOCUMENTATION = """
name: selvage_lines
type: stdout
short_description: One line per host that has news
description:
  - Nothing for hosts where all is as it should be, and a summary.
"""
_TEXT_CHARACTERS = 1000


class CallbackModule(CallbackBase):
    """What Ansible calls while it runs."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "selvage_lines"

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        """A host where everything was done."""
        self._warnings(result)
        if result._result.get("changed"):
            self._line(result, "changed", _changes(result._result))

    def v2_runner_on_failed(self, result: TaskResult, ignore_errors: bool = False) -> None:  # noqa: ARG002
        """A host where something was not done."""
        self._warnings(result)
        self._line(result, "failed", result._result.get("msg", "no reason given"))

    def v2_runner_on_unreachable(self, result: TaskResult) -> None:
        """A host that ssh does not reach."""
        self._line(result, "unreachable", result._result.get("msg", "no reason given"))

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """The end of the run."""
        counts = {
            "hosts": stats.processed,
            "changed": stats.changed,
            "failed": stats.failures,
            "unreachable": stats.dark,
        }
        self._display.display(" ".join(f"{name}={len(hosts)}" for name, hosts in counts.items()))

    def _warnings(self, result: TaskResult) -> None:
        for warning in result._result.get("warnings", ()):
            self._line(result, "warning", warning)

    def _line(self, result: TaskResult, what: str, text: object) -> None:
        line = " ".join(str(text).split())[:_TEXT_CHARACTERS]
        self._display.display(f"{result._host.get_name()} {what}: {line}")


def _changes(result: dict[str, Any]) -> str:
    """What the module `haproxy_backends` did, in a line."""
    news = [
        f"{service['name']} {what} {', '.join(service[what])}"
        for service in result.get("services", ())
        for what in ("added", "removed", "changed")
        if service[what]
    ]
    if result.get("reloaded"):
        news.append("HAProxy reloaded")
    return "; ".join(news) or "the services file"
