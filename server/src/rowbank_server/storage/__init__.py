"""What the servers keep in Redis: the catalog of tables, row buckets, shard state and eviction history."""
