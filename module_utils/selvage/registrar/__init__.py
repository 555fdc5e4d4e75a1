"""The registrar: this node's healthy instances in the registry."""
