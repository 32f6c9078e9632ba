"""The items of a version: read, embedded, and kept up with what changes."""
