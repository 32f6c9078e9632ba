"""Runs a typer program so that wrong usage is told in our words: one line, what was got, what was expected, status 2.

Typer brings the sentences of click and of pydantic. Both are kept from the user here, in one place for
every program: `rowbank` and `rowbank-train`.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import typer

from rowbank.closest import did_you_mean

# Click's classes, by way of the one that typer shows: where they are differs between typer's versions.
_UsageError: Any = typer.BadParameter.__mro__[1]
_ClickException: Any = typer.BadParameter.__mro__[2]


def run(app: typer.Typer, program: str) -> None:
    """Runs the command in `sys.argv`; ends with status 2 after wrong usage, with the command's own otherwise."""
    command = typer.main.get_command(app)
    _reword(command)
    try:
        status = command.main(prog_name=program, standalone_mode=False)
    except typer.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            sys.exit(130)
        sys.stderr.write("aborted\n")
        sys.exit(1)
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(2)
        sys.stderr.write(f"error: {_told(error, program)}\n")
        sys.exit(error.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def _reword(command: Any) -> None:
    """Lets every parameter of a command, and of those below it, say what it expects when a value does not fit."""
    for parameter in command.params:
        parameter.process_value = _reworded(parameter, parameter.process_value)
    for inner in getattr(command, "commands", {}).values():
        _reword(inner)


def _reworded(parameter: Any, process: Any) -> Any:
    def processed(context: Any, value: Any) -> Any:
        try:
            return process(context, value)
        except typer.BadParameter as error:
            expected = _expected(parameter)
            if expected is None or type(error) is not typer.BadParameter:
                raise
            text = f"expected {expected}, got {value!r}"
            raise typer.BadParameter(text, ctx=context, param=parameter) from None

    return processed


def _expected(parameter: Any) -> str | None:
    """What a parameter's value must be; None where only its own check knows."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is not None:  # Typer from 0.20 on.
        choices, kind = descriptor.choices, getattr(descriptor.annotation, "__name__", "")
        low, high = descriptor.parameter_info.min, descriptor.parameter_info.max
    else:
        choices, kind = getattr(parameter.type, "choices", None), parameter.type.name.split()[0]
        low, high = getattr(parameter.type, "min", None), getattr(parameter.type, "max", None)
    if choices is not None:
        return f"one of {', '.join(str(getattr(one, 'value', one)) for one in choices)}"
    name = {"int": "an integer", "integer": "an integer", "float": "a number"}.get(kind)
    if name is None:
        return None
    if low is not None and high is not None:
        return f"{name} from {low} to {high}"
    return name + (f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else "")


def _told(error: Any, program: str) -> str:
    """What was wrong, in one line."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else program
    command: Any = context.command if context is not None else None
    help_line = f"{path} --help says what it takes"
    kind, text = type(error).__name__, " ".join(error.message.split())
    if kind.startswith("NoSuchOption"):
        hint = did_you_mean(error.option_name, _options(command)) or f"; {help_line}"
        return f"{path} has no option {error.option_name}{hint}"
    if kind == "MissingParameter":
        expected = _expected(error.param) if error.param is not None else None
        return f"{_name(error)} is missing{f': expected {expected}' if expected else ''}; {help_line}"
    if isinstance(error, typer.BadParameter):
        return f"{_name(error)}{': ' if _name(error) else ''}{text}"
    if kind == "BadOptionUsage":
        wrong = " takes no value" if "does not take" in text else ": expected a value after it, got none"
        return f"{error.option_name}{wrong}"
    unknown = re.search(r"[Nn]o such command '?([^']*)'?", text)
    if unknown is not None and hasattr(command, "commands"):
        word = unknown[1].rstrip(".")
        hint = did_you_mean(word, command.commands) or f"; known: {', '.join(command.commands)}"
        return f"{path} has no command {word!r}{hint}"
    extra = re.search(r"unexpected extra argument\S* \((.*)\)", text)
    if extra is not None:
        return f"{path}: unexpected {extra[1]!r}; {help_line}"
    return f"{text.rstrip('.')}; {help_line}" if isinstance(error, _UsageError) else text


def _name(error: Any) -> str:
    """The option or argument that is wrong, as it is typed."""
    if error.param_hint is not None:
        return error.param_hint if isinstance(error.param_hint, str) else " / ".join(error.param_hint)
    if error.param is None:
        return ""
    if error.param.param_type_name == "argument":
        return str(error.param.metavar or error.param.name.upper()).strip("[]")
    return str(max(error.param.opts, key=len))


def _options(command: Any) -> list[str]:
    parameters = command.params if command is not None else []
    known = [name for one in parameters for name in [*one.opts, *one.secondary_opts] if name.startswith("--")]
    return [*known, "--help"]
