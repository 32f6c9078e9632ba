"""The registry of two-tower models: versions, files and which version is active."""

from rowbank_server.registry.store import ModelRegistry, StoredModel

__all__ = ["ModelRegistry", "StoredModel"]
