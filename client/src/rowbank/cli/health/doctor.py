"""`rowbank doctor`: what is wrong, here and there, and what to do about each."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from rowbank.cli.health import own_checks
from rowbank.cli.options import Output, OutputFormat, Target
from rowbank.cli.output import emit_rows
from rowbank.cli.retrieving import Retrieval
from rowbank.cli.screen import terminal
from rowbank.cli.screen.texts import clean

if TYPE_CHECKING:
    from rowbank.calls.servers import Shard
    from rowbank.credentials import Credentials
    from rowbank.diagnosis import Finding

_TIMEOUT_S = 4.0  # A server looks at its Redis for 1.5 s.
_SURVEY_S = 2.0
_ORDER = ("fail", "warn", "unknown", "ok")
_COLOURS = {"fail": 1, "warn": 3, "ok": 2, "unknown": 6}
_NAMES = {"fail": "failed", "warn": "to look at", "unknown": "not known", "ok": "fine"}
_INDENT = 9
_WIDEST = 120  # Longer lines are hard to read.


def doctor(target: Target = None, retrieval: Retrieval = None, output: Output = OutputFormat.TABLE) -> None:
    """Look for what is wrong with servers, machines, Redis and network, and say what to do about each."""
    found = sorted(_joined(_look(target, retrieval)), key=lambda one: _ORDER.index(one["verdict"]))
    if output is OutputFormat.TABLE:
        _print(found)
    else:
        emit_rows(found, {}, output, empty="")
    if any(one["verdict"] == "fail" for one in found):
        raise typer.Exit(3)


def _look(target: str | None, retrieval: str | None) -> Iterator[tuple[str, Finding]]:
    """Each finding with where it was found."""
    from rowbank.calls import connect
    from rowbank.calls.servers import Shard
    from rowbank.credentials import Credentials

    credentials = Credentials.from_environment()
    shards = [Shard(one) for one in connect.parse_targets(target)]
    try:
        yield from _look_at_shards(shards, credentials)
    finally:
        for shard in shards:
            shard.close()
    yield from _look_at_retrieval(retrieval)
    for finding in own_checks.of_token(credentials):
        yield "here", finding


def _look_at_shards(shards: Sequence[Shard], credentials: Credentials) -> Iterator[tuple[str, Finding]]:
    from rowbank import __version__
    from rowbank.calls import survey
    from rowbank.diagnosis import Finding
    from rowbank.errors import PermissionDenied, RequestError, Unauthenticated

    stop = threading.Event()
    try:
        processes = survey.survey(shards, stop, timeout_s=_SURVEY_S)
    except (Unauthenticated, PermissionDenied) as error:
        remedy = "get one from whoever runs the servers: rowbank tokens create"
        yield "here", Finding("token", "fail", error.message, remedy)
        return
    roles = {one.address: f"shard {one.shard} {one.role}".strip() for one in processes}
    for finding in own_checks.of_processes(processes):
        yield "here", finding
    yield "here", own_checks.of_versions(processes, __version__)
    if credentials.ca_file:
        for one in processes:
            if one.answers:
                yield roles[one.address], own_checks.of_certificate(one.address, credentials)
    answering = {one.address for one in processes if one.answers}
    for server in (server for shard in shards for server in shard.servers):
        if server.target in answering:
            yield roles[server.target], own_checks.of_native(server)
    sent_s = time.time()
    answers = survey.diagnose(shards, stop, timeout_s=_TIMEOUT_S)
    asked = own_checks.Asked(sent_s, time.time())
    for address, answer in answers:
        where = roles.get(address, address)
        if not isinstance(answer, RequestError):
            yield where, own_checks.of_clock(answer, asked)
            for finding in answer.findings:
                yield where, finding
        elif address in answering:
            remedy = "a diagnosis needs a token with the role admin, and a server of this version"
            yield where, Finding("diagnosis", "unknown", f"{address} did not answer: {answer.message}", remedy)


def _look_at_retrieval(retrieval: str | None) -> Iterator[tuple[str, Finding]]:
    from rowbank import RetrievalClient
    from rowbank.diagnosis import Finding
    from rowbank.errors import RowbankError

    try:
        with RetrievalClient(retrieval, timeout_s=_SURVEY_S, wait_for_ready=False) as client:
            served = client.models().models
    except RowbankError as error:
        yield "retrieval", Finding("models", "warn", str(error), "start it, or say where it is: --retrieval")
        return
    active = [one for one in served if one.active]
    bad = [f"{one.name} {one.version}: {one.problem}" for one in active if one.problem or not one.serving]
    if bad:
        remedy = "publish it anew, or activate another version"
        yield "retrieval", Finding("models", "fail", f"not served: {'; '.join(bad)}", remedy)
    else:
        names = ", ".join(f"{one.name} {one.version}" for one in active)
        yield "retrieval", Finding("models", "ok", f"serves {names}" if names else "answers, and has no model yet")


def _joined(findings: Iterator[tuple[str, Finding]]) -> list[dict[str, Any]]:
    """One record for each finding; what several processes found alike, once."""
    wheres: dict[Finding, list[str]] = {}
    for where, finding in findings:
        wheres.setdefault(finding, []).append(where)
    return [{**dataclasses.asdict(finding), "where": list(dict.fromkeys(places))} for finding, places in wheres.items()]


def _print(found: list[dict[str, Any]]) -> None:
    for one in found:
        verdict = terminal.painted(f"{one['verdict']:<{_INDENT - 2}}", _COLOURS[one["verdict"]])
        told = _wrapped(f"{one['check']} ({', '.join(one['where'])}): {one['detail']}", "")
        sys.stdout.write(f"{verdict}  {told[_INDENT:]}{_wrapped(one['remedy'], '-> ')}")
    counts = [f"{sum(one['verdict'] == verdict for one in found)} {_NAMES[verdict]}" for verdict in _ORDER]
    sys.stdout.write(f"{', '.join(counts)}\n")


def _wrapped(text: str, begin: str) -> str:
    """Lines that begin below the first finding's text; nothing for no text."""
    width = max(_INDENT + 20, min(terminal.columns(), _WIDEST))
    first, others = " " * _INDENT + begin, " " * (_INDENT + len(begin))
    wrapped = textwrap.fill(clean(text), width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    return f"{wrapped}\n" if text else ""
