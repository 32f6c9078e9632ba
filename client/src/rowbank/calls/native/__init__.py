"""Calls over the native endpoint of a server, made by the thread that wants the answer."""
