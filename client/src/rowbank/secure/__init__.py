"""Connections that know whom they trust and which token they show, for every program of ours that opens one."""
