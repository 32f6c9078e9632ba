"""The retrieval service: two-tower queries over HTTP and gRPC."""
