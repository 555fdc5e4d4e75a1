"""The reconciler and the registrar: plain Python, the standard library and kazoo."""
