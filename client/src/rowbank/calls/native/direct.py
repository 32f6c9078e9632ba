"""Whether a client reaches a server itself, or something in between that passes its calls on."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from rowbank.addresses import AddressError, split_address
from rowbank.calls.native import names

_NAME_S = 0.25


def is_direct(target: str, told: Iterable[str]) -> bool:
    """Whether `target` is one of the addresses that a server says it is reached at, by name or by number.

    Where it is none, a proxy may be in between, a mesh's encryption, or a translation of addresses: then another port
    of the server is not for this client, even if it could be reached.

    Raises:
        TimeoutError: the system takes too long to say which address a name stands for.
    """
    others = list(told)
    return target in others or any(_is_same(target, other) for other in others)


def _is_same(one: str, other: str) -> bool:
    try:
        (host, port), (other_host, other_port) = split_address(one), split_address(other)
        if port != other_port:
            return False
        found, other_found = _numbers(host), _numbers(other_host)
    except TimeoutError:
        raise
    except (AddressError, OSError):
        return False
    return bool(found & other_found) or (_is_loopback(found) and _is_loopback(other_found))


def _numbers(host: str) -> frozenset[str]:
    return frozenset(names.numbers(host, _NAME_S))


def _is_loopback(numbers: frozenset[str]) -> bool:
    return all(ipaddress.ip_address(number.partition("%")[0]).is_loopback for number in numbers)
