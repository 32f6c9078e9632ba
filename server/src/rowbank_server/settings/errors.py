"""What is wrong with settings, or with the machine that a server is to start on."""

from __future__ import annotations


class SettingsError(Exception):
    """A setting is unknown or out of range; the text names it, the value and what was expected."""


class StartError(Exception):
    """A server cannot start on this machine; the text says why and what to do."""
