"""What redis-py says of a failure, in words of ours: where, what was wrong, in one line.

Redis's own answers ("NOAUTH Authentication required") stay as they are: whoever runs that Redis knows them.
"""

from __future__ import annotations

import re

# What redis-py puts before an answer to a command of a pipeline: the command, with all its arguments' bytes.
_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
_CONNECTING = re.compile(r"Error \S+ connecting to (?:unix socket: )?(?P<where>.+?)\. (?P<why>[^.]+)\.?$")
_READING = re.compile(r"Error while (?:reading from|writing to) (?P<where>[^ ]+) ")
_NO_MASTER = re.compile(r"No master found for '(?P<name>[^']*)'")
_REASONS = {
    "Connection refused": "connection refused, nothing listens there",
    "No such file or directory": "there is no socket",
    "Name or service not known": "there is no such host",
    "Temporary failure in name resolution": "the name of the host cannot be resolved",
    "No address associated with hostname": "there is no such host",
    "Permission denied": "permission denied",
    "No route to host": "there is no route to that host",
    "Network is unreachable": "the network is unreachable",
}


def describe(error: BaseException) -> str:
    """A failure of Redis, or of the way to it, in one line."""
    lines = _PIPELINE.sub("", str(error), count=1).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    connecting = _CONNECTING.search(text)
    if connecting is not None:
        return f"{connecting['where']}: {_REASONS.get(connecting['why'], connecting['why'])}"
    reading = _READING.match(text)
    if reading is not None:
        return f"the connection to {reading['where']} was lost"
    no_master = _NO_MASTER.match(text)
    if no_master is not None:
        return f"no Sentinel that answers knows a master {no_master['name']!r} that can be reached"
    if text.startswith("Timeout "):
        return "no answer in time"
    if text.startswith("Connection closed by server"):
        return "the connection was closed"
    if text.startswith("Protocol error"):
        return "what answers there is no Redis"
    return text
