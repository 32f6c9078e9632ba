"""The version of the four packages."""

__version__ = "0.1.0"
