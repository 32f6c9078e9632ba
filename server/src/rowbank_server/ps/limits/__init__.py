"""What callers may take of a shard at the same time, whose turn it is, and what memory there is to grow into."""
