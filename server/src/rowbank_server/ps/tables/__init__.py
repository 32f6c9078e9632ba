"""The tables of a shard in RAM: their specs, what changes their rows, and the policies that take rows away."""
