"""Commands that say why eviction does what it does: histograms, explained rows, policies tried in thought."""
