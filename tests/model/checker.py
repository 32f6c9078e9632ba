"""Runs spin on docs/model/shard.pml: which configurations there are, which faults it must find, and what it printed.

`python -m tests.model.checker` prints both tables of docs/model/README.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).parents[2] / "docs" / "model" / "shard.pml"
_TIMEOUT_S = 280
_MEMORY_MIB = 2000
_DEPTH = 100_000  # A search that comes to it is an error (-b): nothing is left out.

# Name -> what it is set to. Bits of COLD and STANDBY name processes; process 0 serves at the beginning.
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "cold": ("COLD=3", "FAILURES"),
    "standby": ("COLD=1", "STANDBY=2"),
    "one take-over": ("COLD=1", "STANDBY=2", "EPOCHS=2"),
    "in turns": ("STANDBY=3",),
    "removal": ("COLD=1", "STANDBY=3", "REMOVAL", "FAILURES"),
    "two standbys": ("PROCESSES=3", "STANDBY=6", "MUTATIONS=1", "FAILURES"),
    "two standbys, removal": ("PROCESSES=3", "STANDBY=6", "REMOVAL", "KILLS=0"),
    "hand-over": ("COLD=1", "STANDBY=2", "HAND_OVER", "EPOCHS=2"),
    "hand-over, removal": ("COLD=1", "STANDBY=2", "HAND_OVER", "REMOVAL"),
}

# The claims, by what stands in their assertions.
LATER_OWNERS = "acknowledge"
CHANGES_NOTHING = "changes_redis"
IN_REDIS = "check_redis"
IN_A_NEW_OWNER = "assert(sound(i))"
ONE_TAKE_OVER = "assert(saw"
ANSWERED = "assert(phase"

SAID = {
    LATER_OWNERS: "what is acknowledged, every later owner has",
    CHANGES_NOTHING: "a replaced owner changes nothing in Redis",
    IN_REDIS: "Redis alone has each mutation once or not at all, and all that are acknowledged",
    IN_A_NEW_OWNER: "so has whoever begins to serve",
    ONE_TAKE_OVER: "one owner lost, one take-over",
    ANSWERED: "whoever was taken in before an orderly stop is answered",
}

# Fault -> the configuration in which it must be found, and the claim that it breaks.
FAULTS: dict[str, tuple[str, str]] = {
    "NO_SEAL": ("cold", CHANGES_NOTHING),
    "APPEND_CREATES_THE_STREAM": ("cold", LATER_OWNERS),
    "OPEN_WITHOUT_OWNER": ("cold", LATER_OWNERS),
    "NO_ROW_FENCE": ("cold", CHANGES_NOTHING),
    "STATE_WITHOUT_OWNER": ("cold", CHANGES_NOTHING),
    "ACKNOWLEDGE_BEFORE_APPEND": ("cold", IN_REDIS),
    "WRITE_BACK_BEFORE_APPEND": ("cold", IN_REDIS),
    "THROUGH_TAKEN_LATE": ("cold", IN_REDIS),
    "TRIM_BEFORE_ROWS": ("cold", IN_REDIS),
    "TRIM_BEFORE_WINDOWS": ("cold", IN_REDIS),
    "SEALED_DELETED_EARLY": ("cold", IN_REDIS),
    "REPLAY_IGNORES_POSITIONS": ("cold", IN_A_NEW_OWNER),
    "REPLAY_FORGETS_IDS": ("cold", IN_A_NEW_OWNER),
    "FOLLOW_UNAPPENDED": ("one take-over", IN_REDIS),
    "PICTURE_BEFORE_APPEND": ("one take-over", IN_A_NEW_OWNER),
    "FORGET_AT_BEGUN": ("one take-over", IN_REDIS),
    "IGNORE_THROUGH": ("one take-over", IN_A_NEW_OWNER),
    "SKIP_TAIL": ("one take-over", IN_A_NEW_OWNER),
    "UNSETTLED_NOT_REWRITTEN": ("removal", IN_REDIS),
    "CLAIM_WITHOUT_CONDITION": ("two standbys", ONE_TAKE_OVER),
    "HAND_OVER_BEFORE_APPEND": ("hand-over", ANSWERED),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What spin printed.

    Attributes:
        violated: where the first broken assertion stands: the inline or assertion that has it; empty: none is broken.
        complete: everything was searched, or an error ended the search.
        unreached: statements that no run came to, with their lines.
    """

    states: int
    depth: int
    seconds: float
    violated: str
    complete: bool
    unreached: frozenset[str]
    output: str


def check(configuration: str, fault: str = "") -> Outcome:
    """Generates the checker of a configuration, compiles it and runs it.

    Raises:
        subprocess.CalledProcessError: the model is not Promela, or does not compile.
    """
    defined = [f"-D{one}" for one in CONFIGURATIONS[configuration]]
    if fault:
        defined.append(f"-DFAULT_{fault}")
    with tempfile.TemporaryDirectory(prefix="rowbank-spin-") as folder:
        shutil.copy(MODEL, folder)
        _run(folder, "spin", "-a", *defined, MODEL.name)
        quick = "-O0" if fault else "-O1"  # A fault is found before a compiler that optimizes has ended.
        _run(folder, "cc", quick, "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={_MEMORY_MIB}", "-o", "pan", "pan.c")
        output = _run(folder, "./pan", f"-m{_DEPTH}", "-b")
        violated = _violated(folder, defined) if "assertion violated" in output else ""
    return _read(output, violated)


def breaks(outcome: Outcome, claim: str) -> bool:
    """Whether that is the claim that was found broken."""
    return outcome.violated.startswith(claim)


def _run(folder: str, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if result.returncode != 0:
        raise subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
    return result.stdout


def _violated(folder: str, defined: list[str]) -> str:
    """Which assertion a run that spin replays ends at."""
    replay = subprocess.run(
        ["spin", "-t", *defined, MODEL.name], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    found = re.search(r"shard\.pml:(\d+), Error: assertion violated", replay.stdout + replay.stderr)
    if found is None:
        return "unknown"
    lines = MODEL.read_text().splitlines()
    number = int(found[1]) - 1
    statement = lines[number].strip()
    for line in reversed(lines[: number + 1]):
        if line.startswith("inline "):
            return line.removeprefix("inline ").partition("(")[0]
        if line.startswith("proctype "):
            break
    return statement


def _read(output: str, violated: str) -> Outcome:
    states = re.search(r"^\s*(\d+) states, stored", output, re.MULTILINE)
    depth = re.search(r"depth reached (\d+), errors: (\d+)", output)
    elapsed = re.search(r"elapsed time ([\d.]+)", output)
    assert states, output
    assert depth, output
    assert elapsed, output
    wrong = re.search(r"max search depth too small|Search not completed|pan:\d+:|out of memory", output)
    return Outcome(
        states=int(states[1]),
        depth=int(depth[1]),
        seconds=float(elapsed[1]),
        violated=violated,
        complete=bool(violated) or (int(depth[2]) == 0 and wrong is None),
        unreached=frozenset(_unreached(output)),
        output=output,
    )


def _unreached(output: str) -> list[str]:
    """Of the steps themselves. What they share (inlines) stands there once for each that uses it, most in vain."""
    first = 1 + next(n for n, line in enumerate(MODEL.read_text().splitlines()) if line.startswith("proctype "))
    part = output.partition("unreached in proctype process")[2]
    found = re.findall(r"shard\.pml:(\d+), state \d+, \"(.+)\"$", part, re.MULTILINE)
    return [f"{line}: {statement}" for line, statement in found if statement != "-end-" and int(line) > first]


def main() -> int:
    """Prints what was found; 1: a claim is broken, or a fault was not found."""
    bad = 0
    print("| configuration | states | depth | seconds |\n| --- | --- | --- | --- |", flush=True)
    for name in CONFIGURATIONS:
        outcome = check(name)
        bad += bool(outcome.violated) or not outcome.complete
        said = outcome.violated or ("" if outcome.complete else "not searched to its end")
        print(f"| {name} | {outcome.states:,} | {outcome.depth} | {outcome.seconds:.1f} | {said}".rstrip(), flush=True)
    print("\n| fault | configuration | claim broken | states until then |\n| --- | --- | --- | --- |", flush=True)
    for fault, (name, claim) in FAULTS.items():
        outcome = check(name, fault)
        bad += not breaks(outcome, claim)
        said = SAID[claim] if breaks(outcome, claim) else f"wrong: {outcome.violated}"
        print(f"| {fault} | {name} | {said} | {outcome.states:,} |", flush=True)
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
