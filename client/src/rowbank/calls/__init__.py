"""What carries a call: connecting, routing keys to shards, packing arrays, sending with retries. Not public."""
