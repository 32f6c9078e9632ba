"""Prometheus expositions of several workers as one text, each sample with the label `worker`."""

from __future__ import annotations

from collections.abc import Mapping

_UP = "rowbank_api_worker_up"


def merged(texts: Mapping[int, bytes | None]) -> bytes:
    """One exposition of all: metrics in the order in which they come first, of each its description once.

    Args:
        texts: expositions in the text format, as prometheus_client writes them, by worker; None of those that did not
            answer in time, which `rowbank_api_worker_up` says.
    """
    heads = {_UP: [f"# HELP {_UP} 1 for a worker whose metrics are in this answer.", f"# TYPE {_UP} gauge"]}
    samples = {_UP: [f'{_UP}{{worker="{worker}"}} {float(text is not None)}' for worker, text in texts.items()]}
    for worker, text in texts.items():
        if text is None:
            continue
        metric = ""
        for line in text.decode().split("\n"):  # Other ends of lines may stand in labels.
            if line.startswith("# "):
                metric = line.split(" ", 3)[2]
                if line not in heads.setdefault(metric, []):
                    heads[metric].append(line)
            elif line:
                samples.setdefault(metric, []).append(_labelled(line, worker))
    lines = [line for metric, head in heads.items() for line in (*head, *samples.get(metric, ()))]
    return ("\n".join(lines) + "\n").encode()


def _labelled(sample: str, worker: int) -> str:
    """`name{a="b"} 1.0` with another label, the first."""
    ends = [place for place in (sample.find("{"), sample.find(" ")) if place >= 0]
    place = min(ends)
    name, rest = sample[:place], sample[place:]
    if rest.startswith("{"):
        inside = "" if rest.startswith("{}") else ","
        return f'{name}{{worker="{worker}"{inside}{rest[1:]}'
    return f'{name}{{worker="{worker}"}}{rest}'
