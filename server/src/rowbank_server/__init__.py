"""The servers of Rowbank: parameter-server shards, the retrieval service, and what they keep in Redis."""

from importlib.metadata import version

__version__ = version("rowbank-server")
