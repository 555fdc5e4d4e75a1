"""ZooKeeper: connecting, reading, and keeping what was read current."""
