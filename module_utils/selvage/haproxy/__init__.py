"""HAProxy: its values, its files, its sockets."""
