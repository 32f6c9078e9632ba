"""Settings without a start: what a process would have and from where, and whether a file can be used."""
