"""What operators ask of eviction: why a row is where it is, why one is gone, and what another policy would do."""
