"""The native endpoint: calls of RowService over gRPC, framed natively and answered by the same handlers."""
