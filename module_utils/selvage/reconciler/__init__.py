"""The reconciler: passes that make HAProxy equal to the registry."""
