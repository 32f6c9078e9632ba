"""What followers get: the log of released mutations, and the streams over it."""
