"""The journal: every mutation of a shard in a Redis stream, before it is acknowledged."""
