"""What callers see of the retrieval service: HTTP endpoints with their schemas and errors, and gRPC."""
