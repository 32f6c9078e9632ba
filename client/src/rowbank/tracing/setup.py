"""Whether OpenTelemetry is set up in this process, without importing it to find out."""

from __future__ import annotations

import sys
from typing import Any

from rowbank._version import __version__

_SCOPE = "rowbank"


def is_set_up() -> bool:
    """Whether spans go anywhere."""
    found = api()
    return found is not None and tracer_of(found) is not None


def api() -> Any:
    """OpenTelemetry's `trace`, if this process has imported it: nobody has set it up else."""
    found = sys.modules.get("opentelemetry.trace")
    # It has all of it once it has its last function; another thread may be importing it.
    return found if found is not None and hasattr(found, "use_span") else None


_known: tuple[Any, Any] = (None, None)  # A provider and its tracer.


def tracer_of(found: Any) -> Any:
    """What makes spans; None: what they would go to is not set up. `found` is what `api` gave."""
    global _known
    provider = found.get_tracer_provider()
    known, tracer = _known
    if provider is not known:
        off = isinstance(provider, found.ProxyTracerProvider | found.NoOpTracerProvider)
        tracer = None if off else provider.get_tracer(_SCOPE, __version__)
        _known = provider, tracer
    return tracer
