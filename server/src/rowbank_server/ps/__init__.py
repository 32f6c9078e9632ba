"""One shard of the parameter server: tables in RAM, served over gRPC, written back to Redis."""
