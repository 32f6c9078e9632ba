"""Calls of forked processes: what a child makes anew, and the process that makes its calls where gRPC must not run."""
