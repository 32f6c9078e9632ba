"""The stages that a batch of queries goes through, in the engine's order."""
