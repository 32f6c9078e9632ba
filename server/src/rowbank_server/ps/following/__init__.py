"""How a process keeps the tables of a shard as the shard's owner has them: the stream, what applies it, and its age."""
