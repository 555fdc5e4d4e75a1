"""Passes of a reconciler over a registry's content, without a registry."""

from __future__ import annotations

import time

from selvage.haproxy.socket import HAProxyUnavailable


def passes(reconciler, content, *, until_told=False):
    """Pass after pass, as the daemon makes them, until all is done; the problems on the way."""
    problems = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            result = reconciler.run(lambda: content)
        except HAProxyUnavailable as error:
            if until_told:
                raise
            problems.append(str(error))
        else:
            problems += result.problems
            if result.again_s is None and not result.problems:
                return problems
        time.sleep(0.02)
    raise AssertionError(problems)
