"""Reference pages of the documentation's site, made from the code; a hook of mkdocs (`mkdocs.yml`)."""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import typer
from google.protobuf import descriptor_pb2
from grpc_tools import protoc
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import rowbank
import rowbank_server
from rowbank import errors
from rowbank.cli.app import app
from rowbank_server.retrieval.api.http import openapi
from rowbank_server.retrieval.api.http.app import endpoints
from rowbank_server.retrieval.api.http.handlers import Handlers

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos" / "src"
NOTE = "This page is made from the code.\n\n"
_SERVICES, _METHODS, _MESSAGES, _FIELDS, _ENUMS, _VALUES = 6, 2, 4, 2, 5, 2  # Field numbers in descriptors' paths.
_SCALARS = {value: name[5:].lower() for name, value in descriptor_pb2.FieldDescriptorProto.Type.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    pages = {
        "commands": commands(),
        "python": python(),
        "http": http(),
        "grpc": grpc(),
        "errors": reasons(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Leaves the words of links that lead out of the site: to the repository's files."""
    depth = page.file.src_uri.count("/") + 1
    return re.sub(rf"\[([^\]]+)\]\((?:\.\./){{{depth}}}[^)]*\)", r"\1", markdown)


def commands() -> str:
    """Every command with its options."""
    parts = [
        f"# Commands\n\n{NOTE}[The command line](../cli.md) says what all commands share, and shows their output.\n"
    ]
    for name, command in _commands(typer.main.get_command(app), "rowbank"):
        takes = [one for one in command.params if one.name != "help"]
        arguments = [one for one in takes if one.param_type_name == "argument"]
        usage = " ".join([name, *(one.metavar or one.name.upper() for one in arguments)])
        parts.append(f"## `{name}`\n\n{_prose(command.help)}\n\n```text\n{usage}\n```\n")
        options = [one for one in takes if one not in arguments]
        if options:
            rows = [f"| {_names(one)} | {_cell(one.help or '')} |" for one in options]
            parts.append("\n".join(["| option | meaning |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def python() -> str:
    """The client's public names, for mkdocstrings."""
    listed = "\n\n".join(
        f"::: rowbank.{name}" for name in sorted(rowbank.__all__) if inspect.isclass(getattr(rowbank, name))
    )
    return f"# Python\n\n{NOTE}All of it is importable from `rowbank`.\n\n{listed}\n"


def http() -> str:
    """The retrieval service's endpoints and what they take and give."""
    document = openapi.document(endpoints(create_autospec(Handlers)), rowbank_server.__version__)
    parts = [f"# HTTP\n\n{NOTE}[Retrieval](../retrieval.md) explains it; the service answers `GET /openapi.json`.\n"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"## `{method.upper()} {path}`\n\n{_prose(operation['summary'])}.\n")
            body = operation.get("requestBody", {}).get("content", {})
            parts += [f"Body: {_link(schema)}\n" for schema in _schemas(body)]
            rows = [
                f"| {status} | {_cell(answer['description'])} | "
                f"{', '.join(_link(schema) for schema in _schemas(answer.get('content', {})))} |"
                for status, answer in operation["responses"].items()
            ]
            parts.append("\n".join(["| status | meaning | body |", "| --- | --- | --- |", *rows]) + "\n")
    parts.append("## Bodies\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(f"### {name}\n\n{_prose(schema.get('description', ''))}\n")
        rows = [
            f"| `{field}` | {_type(about)} | {_cell(about.get('description', ''))} |"
            for field, about in schema.get("properties", {}).items()
        ]
        if rows:
            parts.append("\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def grpc() -> str:
    """Services and messages with the comments of their .proto files."""
    parts = [f"# gRPC\n\n{NOTE}[The protocol](../protocol.md) has what a client has to know beside it.\n"]
    for file in _described():
        texts = {tuple(one.path): _comment(one) for one in file.source_code_info.location}
        parts.append(f"## {Path(file.name).name}\n\n{_prose(texts.get((12,), ''))}\n")
        for place, service in enumerate(file.service):
            parts.append(f"### service {service.name}\n\n{_prose(texts.get((_SERVICES, place), ''))}\n")
            rows = [
                f"| `{method.name}` | {'stream ' * method.client_streaming}{_short(method.input_type)} | "
                f"{'stream ' * method.server_streaming}{_short(method.output_type)} | "
                f"{_cell(texts.get((_SERVICES, place, _METHODS, number), ''))} |"
                for number, method in enumerate(service.method)
            ]
            parts.append("\n".join(["| method | takes | gives | |", "| --- | --- | --- | --- |", *rows]) + "\n")
        for place, message in enumerate(file.message_type):
            parts += _message(message, (_MESSAGES, place), texts)
        for place, enum in enumerate(file.enum_type):
            rows = [
                f"| `{value.name}` | {value.number} | {_cell(texts.get((_ENUMS, place, _VALUES, number), ''))} |"
                for number, value in enumerate(enum.value)
            ]
            parts.append(f"### enum {enum.name}\n\n{_prose(texts.get((_ENUMS, place), ''))}\n")
            parts.append("\n".join(["| name | number | |", "| --- | --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def reasons() -> str:
    """Every reason with its class."""
    rows = [
        f"| `{reason}` | `{cls.__name__}` | {cls.code.name} | {'yes' if cls.retryable else 'no'} | "
        f"{_cell(inspect.getdoc(cls) or '')} |"
        for reason, cls in sorted(errors.BY_REASON.items())
    ]
    head = ["| reason | class in `rowbank.errors` | gRPC code | try again | |", "| --- | --- | --- | --- | --- |"]
    return f"# Errors\n\n{NOTE}" + "\n".join([*head, *rows]) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield full, command


def _names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])


def _message(message: Any, path: tuple[int, ...], texts: dict[tuple[int, ...], str]) -> list[str]:
    """One message and those within it."""
    if message.options.map_entry:
        return []
    rows = [
        f"| `{field.name}` | {field.number} | {_field_type(field)} | {_cell(texts.get((*path, _FIELDS, number), ''))} |"
        for number, field in enumerate(message.field)
    ]
    parts = [f"### {message.name}\n\n{_prose(texts.get(path, ''))}\n"]
    if rows:
        parts.append("\n".join(["| field | number | type | |", "| --- | --- | --- | --- |", *rows]) + "\n")
    for number, inner in enumerate(message.nested_type):
        parts += _message(inner, (*path, 3, number), texts)
    return parts


def _field_type(field: Any) -> str:
    repeated = field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    name = _short(field.type_name) if field.type_name else _SCALARS[field.type]
    return f"{'repeated ' * repeated}{name}"


def _described() -> list[Any]:
    """The descriptors of our .proto files, with comments."""
    sources = sorted((PROTOS / "rowbank_protos" / "v1").glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        folders = [
            f"-I{PROTOS}",
            f"-I{resources.files('grpc_tools') / '_proto'}",
        ]  # Ours, and those that come with protobuf.
        command = ["protoc", *folders, "--include_source_info", f"--descriptor_set_out={out}", *map(str, sources)]
        if protoc.main(command) != 0:
            sys.exit("error: the .proto files cannot be read")
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def _comment(location: Any) -> str:
    detached = "\n".join(location.leading_detached_comments)
    return location.leading_comments or location.trailing_comments or detached


def _short(type_name: str) -> str:
    return type_name.rpartition(".")[2]


def _schemas(content: dict[str, Any]) -> list[Any]:
    return [one["schema"] for one in content.values() if one.get("schema")]


def _link(schema: Any) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f"[{name}](#{name.lower()})" if name else _type(schema)


def _type(schema: Any) -> str:
    if "$ref" in schema:
        return _link(schema)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kinds = schema.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _prose(text: str | None) -> str:
    """Text of docstrings as Markdown shows it: nothing in it is an element of HTML."""
    return re.sub(r"<(?=[\w/])", "&lt;", (text or "").strip())


def _cell(text: str) -> str:
    return _prose(" ".join(text.split())).replace("|", "\\|")
