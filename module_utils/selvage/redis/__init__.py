"""Redis and Sentinel: what they say, what follows from it, and how they are told."""
