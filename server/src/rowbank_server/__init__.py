"""The servers of Rowbank: parameter-server shards, the retrieval service, and what they keep in Redis."""

import os
from importlib.metadata import version

# onnxruntime tells its maker about machines and models, unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# gRPC writes a line for each stranger whose TLS handshake fails.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__version__ = version("rowbank-server")
