"""Backups: taken where a service runs, pulled and kept by the backup host."""
