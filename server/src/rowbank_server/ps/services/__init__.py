"""The gRPC services of a shard, how they lay out answers, turn errors into statuses, and count."""
