"""Completion in shells: the scripts, and what may follow the words that are typed.

A shell asks `rowbank` itself, with the variable `_ROWBANK_COMPLETE` set and the words so far as arguments, the last of
them unfinished. Names of tables, models and views are asked of the server, within a moment or not at all.
"""

from __future__ import annotations

import enum
import importlib.util
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer

VARIABLE = "_ROWBANK_COMPLETE"
_ASK_S = 0.3  # For a connection and an answer.

_BASH = """\
_rowbank_completion() {
    local IFS=$'\\n'
    COMPREPLY=($(_ROWBANK_COMPLETE=1 rowbank "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _rowbank_completion rowbank
"""
_ZSH = """\
#compdef rowbank
_rowbank_completion() {
    local -a found
    found=("${(@f)$(_ROWBANK_COMPLETE=1 rowbank "${(@)words[2,$CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
compdef _rowbank_completion rowbank
"""
_FISH = """\
function __rowbank_completion
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    env _ROWBANK_COMPLETE=1 rowbank $typed[2..-1] "$current" 2>/dev/null
end
complete -c rowbank -a '(__rowbank_completion)'
"""


class Shell(str, enum.Enum):
    """A shell that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_SCRIPTS = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH}


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print a script that lets a shell complete commands, options and names of tables."""
    sys.stdout.write(_SCRIPTS[shell])


def answer(app: typer.Typer, words: Sequence[str]) -> None:
    """Prints what may stand in the place of the last of `words`, one a line."""
    for candidate in sorted(set(candidates(typer.main.get_command(app), words))):
        sys.stdout.write(f"{candidate}\n")
    sys.stdout.flush()


def candidates(command: Any, words: Sequence[str]) -> Iterator[str]:
    """What may stand in the place of the last of `words`.

    Args:
        command: the tree of commands, as Typer makes it.
    """
    *before, current = words or [""]
    path: list[str] = []
    while before and before[0] in getattr(command, "commands", {}):
        path.append(before.pop(0))
        command = command.commands[path[-1]]
    found: Iterable[str]
    if not hasattr(command, "commands"):
        found = _of_command(command, path, before, current)
    elif any(not word.startswith("-") for word in before):
        found = []  # A command that does not exist.
    else:
        found = _options(command) if current.startswith("-") else _of_group(command)
    return (one for one in found if one.startswith(current))


def _of_group(command: Any) -> Iterable[str]:
    return [name for name, inner in command.commands.items() if not inner.hidden]


def _of_command(command: Any, path: Sequence[str], before: Sequence[str], current: str) -> Iterable[str]:
    if command.context_settings.get("allow_extra_args"):
        return _settings(path) if current.startswith("-") else ["up", "ps", "api"] if path == ["config", "show"] else []
    taking = {name: one for one in command.params for name in one.opts if one.param_type_name == "option"}
    positional, waiting, target = 0, None, None
    for word in before:
        if waiting is not None:
            target = word if "--target" in waiting.opts else target
            waiting = None
        elif word.startswith("-"):
            option = taking.get(word)
            waiting = option if option is not None and not getattr(option, "is_flag", False) else None
        else:
            positional += 1
    if waiting is not None:
        return _choices(waiting)
    if current.startswith("-"):
        return _options(command)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    if not arguments or (positional >= len(arguments) and arguments[-1].nargs != -1):
        return []
    argument = arguments[min(positional, len(arguments) - 1)]
    return _choices(argument) or _names(str(argument.metavar).strip("[]"), target)


def _options(command: Any) -> Iterable[str]:
    names = [name for one in command.params for name in [*one.opts, *one.secondary_opts] if name.startswith("--")]
    return [*names, "--help"]


def _choices(parameter: Any) -> list[str]:
    descriptor = getattr(parameter, "type_descriptor", None)  # Typer from 0.20 on.
    choices = getattr(descriptor, "choices", None) or getattr(getattr(parameter, "type", None), "choices", None) or ()
    return [str(getattr(one, "value", one)) for one in choices]


def _settings(path: Sequence[str]) -> Iterable[str]:
    """Options of a process, which are its settings; the server package knows them."""
    if importlib.util.find_spec("rowbank_server") is None:
        return []
    settings = importlib.import_module("rowbank_server.settings")
    known = {"up": settings.UpSettings, "ps": settings.PsSettings, "api": settings.ApiSettings}
    fields = known[path[-1]].model_fields if path[-1] in known else {}
    return [*(f"--{name.replace('_', '-')}" for name in fields), "--help"]


def _names(kind: str, target: str | None) -> Iterable[str]:
    """Names that a server knows; none where it is away or takes long."""
    asked = {"TABLE": _tables, "MODEL": _models, "VIEW": _views}.get(kind)
    if asked is None:
        return []
    try:
        return _ask(asked, target)
    except Exception:  # Whatever keeps it from answering: a person who types wants no word of it.
        return []


def _ask(asked: Callable[[Any, float], Iterable[str]], target: str | None) -> Iterable[str]:
    """Asks the first server that can be connected to."""
    from rowbank.addresses import alternatives_of, parse_targets, split_address

    deadline = time.monotonic() + _ASK_S
    for address in alternatives_of(parse_targets(target or os.environ.get("ROWBANK_TARGETS") or "127.0.0.1:7700")[0]):
        if not address.startswith("unix:"):
            host, port = split_address(address)
            try:
                socket.create_connection((host.strip("[]"), port), timeout=deadline - time.monotonic()).close()
            except OSError:
                continue
        from rowbank.calls.channels import open_channel

        with open_channel(address) as channel:
            return list(asked(channel, _ASK_S))
    return []


def _call(channel: Any, method: str, request: Any, kind: Any, timeout_s: float) -> Any:
    call = channel.unary_unary(
        f"/rowbank.v1.{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=kind.FromString,
    )
    return call(request, timeout=timeout_s)


def _tables(channel: Any, timeout_s: float) -> Iterable[str]:
    from rowbank_protos.v1 import tables_pb2 as pb

    listed = _call(channel, "TableService/ListTables", pb.ListTablesRequest(), pb.ListTablesResponse, timeout_s)
    return [table.spec.name for table in listed.tables]


def _models(channel: Any, timeout_s: float) -> Iterable[str]:
    from rowbank_protos.v1 import models_pb2 as pb

    listed = _call(channel, "ModelService/ListModels", pb.ListModelsRequest(), pb.ListModelsResponse, timeout_s)
    return [entry.manifest.name for entry in listed.models]


def _views(channel: Any, timeout_s: float) -> Iterable[str]:
    from rowbank_protos.v1 import features_pb2 as pb

    listed = _call(channel, "FeatureService/ListViews", pb.ListViewsRequest(), pb.ListViewsResponse, timeout_s)
    return [view.name for view in listed.views]
