"""The best items of every user, computed at once from a published version and written to a file."""
