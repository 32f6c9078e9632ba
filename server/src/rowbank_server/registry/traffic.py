"""Who gets which version of a model: splits by user, and a version that is only compared."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rowbank.errors import InvalidRequest, ModelNotFound, NotReady
from rowbank.traffic import Traffic
from rowbank_protos.v1 import models_pb2
from rowbank_server.registry.store import ModelRegistry

_TRIES = 3  # While versions are activated or removed meanwhile.
_CLOSE = 1e-6  # Shares are typed by people: 0.1 + 0.2 + 0.7 is 1.


def get_traffic(registry: ModelRegistry, name: str) -> Traffic:
    """Who gets which version now.

    Raises:
        ModelNotFound: there is no such model.
    """
    known = registry.names()
    if name not in known:
        raise ModelNotFound(
            f"model {name!r} does not exist; known models: {', '.join(known) or 'none'}", metadata={"model": name}
        )
    return registry.traffic(name)


def set_traffic(registry: ModelRegistry, name: str, shares: Mapping[str, float], shadow: str = "") -> Traffic:
    """Says who gets which version from now on, instead of what was said before; returns that.

    The active version may be among the shares, if it has what the others leave.

    Raises:
        ModelNotFound: there is no such model or version.
        InvalidRequest: a share is not from 0 to 1, or they are more than 1 together; the active version has another
            share than what is left, or is the shadow; a version that users get has ids of another kind than the active
            one. Nothing is changed.
    """
    for version, share in shares.items():
        if not math.isfinite(share) or not 0 <= share <= 1:
            raise InvalidRequest(f"shares: {version}: expected a number from 0 to 1, got {share:g}")
    total = math.fsum(shares.values())
    if total > 1 + _CLOSE:
        raise InvalidRequest(f"shares: expected at most 1 together, got {total:g}")
    for _ in range(_TRIES):
        active = registry.active_version(name)
        _check(registry, name, active, shares, shadow)
        others = {version: float(share) for version, share in shares.items() if version != active}
        if registry.replace_traffic(name, Traffic(others, shadow, active)):
            return Traffic(others, shadow, active)
    raise NotReady(f"model {name!r}: versions are being activated or removed; try again in a moment")


def _check(registry: ModelRegistry, name: str, active: str, shares: Mapping[str, float], shadow: str) -> None:
    stored = {entry.manifest.version: entry.manifest for entry in registry.list(name)}
    named = [*shares, *([shadow] if shadow else [])]
    for version in named:
        if version not in stored:
            raise ModelNotFound(
                f"model {name!r} has no version {version}; it has: {', '.join(stored) or 'none'}",
                metadata={"model": name, "version": version},
            )
    if named and active not in stored:
        raise InvalidRequest(f"model {name!r} has no active version; activate one before its traffic is split")
    if shadow and shadow == active:
        raise InvalidRequest(f"shadow: {shadow} is the active version; name another one to compare with it")
    left = 1 - math.fsum(share for version, share in shares.items() if version != active)
    if active in shares and abs(shares[active] - left) > _CLOSE:
        raise InvalidRequest(
            f"shares: {active} is the active version and gets what the others leave, {max(0.0, left):g}, not "
            f"{shares[active]:g}; leave it out"
        )
    for version in named:
        if shares.get(version, 0) > 0 or version == shadow:
            _require_same_ids(stored[active], stored[version])


def _require_same_ids(active: models_pb2.ModelManifest, other: models_pb2.ModelManifest) -> None:
    if not same_ids(active, other):
        raise InvalidRequest(
            f"{other.version} has ids of another kind than the active version {active.version}, so its users cannot be "
            "the same; give it the share 0 and name it in requests"
        )


def same_ids(one: models_pb2.ModelManifest, other: models_pb2.ModelManifest) -> bool:
    """Whether callers ask both versions by ids of the same kinds."""
    texts = models_pb2.ID_TYPE_STRING
    return (one.user_ids == texts, one.item_ids == texts) == (other.user_ids == texts, other.item_ids == texts)
