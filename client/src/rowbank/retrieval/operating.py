"""Versions, traffic, stored filters and the index: each function is a method of both clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rowbank._checks import at_least, number
from rowbank.errors import InvalidRequest, shown
from rowbank.retrieval import answers, decoding, methods, requests
from rowbank.retrieval.attempts import Call
from rowbank.retrieval.filters import filter_to_proto
from rowbank.retrieval.words import FilterLike
from rowbank.traffic import Traffic
from rowbank_protos.v1 import retrieval_pb2


def models(model: str = "", *, timeout_s: float | None = None) -> Call[answers.ServedModels]:
    """Versions, newest first, of one model or of all; of those that the service has loaded, what they take."""
    request = retrieval_pb2.ListServedModelsRequest(model=requests.text(model, "model"))
    return Call(
        methods.LIST_SERVED_MODELS, iter([request]), lambda got: decoding.served_models(got[0]), timeout_s=timeout_s
    )


def activate(
    version: str, *, model: str = "", force: bool = False, timeout_s: float | None = None
) -> Call[answers.Activated]:
    """Makes a version the active one, for every retrieval service.

    Raises:
        ModelNotFound: there is no such version.
        ModelDiffers: it differs strongly from the active one, and not `force`.
    """
    request = retrieval_pb2.ActivateVersionRequest(
        model=requests.text(model, "model"), version=requests.text(version, "version"), force=bool(force)
    )
    return Call(methods.ACTIVATE_VERSION, iter([request]), _activated, repeatable=False, timeout_s=timeout_s)


def roll_back(*, model: str = "", timeout_s: float | None = None) -> Call[answers.Activated]:
    """Makes the version active again that was so before the present one, however it differs."""
    request = retrieval_pb2.RollBackRequest(model=requests.text(model, "model"))
    return Call(methods.ROLL_BACK, iter([request]), _activated, repeatable=False, timeout_s=timeout_s)


def traffic(*, model: str = "", timeout_s: float | None = None) -> Call[Traffic]:
    """Which versions users get."""
    request = retrieval_pb2.GetTrafficRequest(model=requests.text(model, "model"))
    return Call(methods.GET_TRAFFIC, iter([request]), lambda got: decoding.traffic(got[0]), timeout_s=timeout_s)


def set_traffic(traffic: Traffic, *, model: str = "", timeout_s: float | None = None) -> Call[Traffic]:
    """Says which versions users get, instead of what was said before; an empty `Traffic` ends a split."""
    if not isinstance(traffic, Traffic):
        requests.wrong("traffic", "a rowbank.retrieval.Traffic", shown(traffic))
    shares = {
        requests.text(version, "traffic.shares"): number(
            f"traffic.shares.{version}", share, "a number from 0 to 1", low=0.0, high=1.0, error=InvalidRequest
        )
        for version, share in traffic.shares.items()
    }
    message = retrieval_pb2.Traffic(
        model=requests.text(model, "model"), shares=shares, shadow=requests.text(traffic.shadow, "traffic.shadow")
    )
    request = retrieval_pb2.SetTrafficRequest(traffic=message)
    return Call(methods.SET_TRAFFIC, iter([request]), lambda got: decoding.traffic(got[0]), timeout_s=timeout_s)


def filters(*, model: str = "", timeout_s: float | None = None) -> Call[list[answers.NamedFilter]]:
    """The filters that are stored with a model."""
    request = retrieval_pb2.ListFiltersRequest(model=requests.text(model, "model"))
    return Call(methods.LIST_FILTERS, iter([request]), lambda got: decoding.named_filters(got[0]), timeout_s=timeout_s)


def put_filter(
    name: str,
    filter: FilterLike,  # noqa: A002
    *,
    model: str = "",
    timeout_s: float | None = None,
) -> Call[None]:
    """Stores a filter under a name, in the place of one that was there; queries name it by `named`."""
    stored = retrieval_pb2.NamedFilter(name=requests.text(name, "name"), filter=filter_to_proto(filter))
    request = retrieval_pb2.PutFilterRequest(model=requests.text(model, "model"), filter=stored)
    return Call(methods.PUT_FILTER, iter([request]), _nothing, timeout_s=timeout_s)


def delete_filter(name: str, *, model: str = "", timeout_s: float | None = None) -> Call[None]:
    """Removes a stored filter."""
    request = retrieval_pb2.DeleteFilterRequest(model=requests.text(model, "model"), name=requests.text(name, "name"))
    return Call(methods.DELETE_FILTER, iter([request]), _nothing, timeout_s=timeout_s)


def probe_index(
    *,
    queries: int = 100,
    k: int = 100,
    filter: FilterLike | None = None,  # noqa: A002
    model: str = "",
    version: str = "",
    timeout_s: float | None = None,
) -> Call[answers.IndexProbe]:
    """Compares what the index finds with an exact search, over so many queries with k items each."""
    request = retrieval_pb2.ProbeIndexRequest(
        model=requests.text(model, "model"),
        version=requests.text(version, "version"),
        queries=at_least("queries", queries, 1, bits=32),
        k=at_least("k", k, 1, bits=32),
        filter=None if filter is None else filter_to_proto(filter),
    )
    return Call(methods.PROBE_INDEX, iter([request]), lambda got: decoding.index_probe(got[0]), timeout_s=timeout_s)


def _activated(got: Sequence[Any]) -> answers.Activated:
    return decoding.activated(got[0])


def _nothing(got: Sequence[Any]) -> None:
    return None
