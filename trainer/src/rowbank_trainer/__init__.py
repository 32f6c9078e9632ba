"""Training jobs with embedding tables in their own process or on a Rowbank server."""

import os

# onnxruntime tells its maker about machines and models, unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
