"""Which items may be in an answer, by their features."""
