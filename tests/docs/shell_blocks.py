"""The commands and programs of a page of the docs, in their order, as one script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?:<!-- not run: (?P<why>[^>]+?) -->\n)?```(?P<language>sh|python)\n(?P<text>.*?)```", re.DOTALL)
_PORTS = {"7700": "grpc", "7702": "standby", "7780": "http", "7781": "retrieval", "7782": "ps_http"}


@dataclass(frozen=True)
class Block:
    """One block of a page; `why` it is not run, or nothing."""

    line: int
    language: str
    text: str
    why: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(text[: found.start("text")].count("\n") + 1, found["language"], found["text"], found["why"] or "")
        for found in _BLOCK.finditer(text)
    ]


def script(page: Path, *, languages: tuple[str, ...]) -> str:
    """A Bash script that runs the page's blocks, and ends what it has begun. It fails where one of them does."""
    parts = [
        "set -euo pipefail",
        "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT",
        # A refusal is a failure, also where a reader would see it.
        'curl() { case "$*" in -sf*) command curl "$@";; *) command curl --fail-with-body "$@";; esac; }',
    ]
    for block in blocks(page):
        if block.why or block.language not in languages:
            continue
        parts.append(f"echo '== {page.name}:{block.line}' >&2")
        parts.append(
            block.text if block.language == "sh" else f"python - <<'END_OF_PROGRAM'\n{block.text}END_OF_PROGRAM"
        )
    return "\n".join(parts) + "\n"


def moved(text: str, ports: dict[str, int]) -> str:
    """The script with free ports in the place of those that are the defaults."""
    return re.sub(r"(?<=[:=])77(?:0[02]|8[012])\b", lambda found: str(ports[_PORTS[found[0]]]), text)
