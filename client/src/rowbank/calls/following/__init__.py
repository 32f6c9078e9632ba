"""Following tables: a stream from each shard, read by a thread of its own, joined with bounded memory."""
