"""What the docs name exists, and what exists they name: options, settings, HTTP and gRPC, metrics, errors, Redis."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from google.protobuf import descriptor_pool
from tests.docs.test_docs import COMMANDS, DOCS, PAGES, ROOT, commands, shell_lines

from rowbank import Client, Table
from rowbank.errors import BY_REASON
from rowbank.features import Features
from rowbank.models import Models
from rowbank_protos.v1 import (  # noqa: F401  # noqa: F401
    admin_pb2,
    diagnosis_pb2,
    features_pb2,
    insight_pb2,
    models_pb2,
    retrieval_pb2,
    rows_pb2,
    snapshots_pb2,
    tables_pb2,
    workers_pb2,
)
from rowbank_server import settings
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http import problems
from rowbank_server.retrieval.api.http.app import endpoints
from rowbank_server.retrieval.lineage import Loss
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Source
from rowbank_server.storage.layout import Layout
from rowbank_trainer.cli import app as trainer_app

RETRIEVAL = ROOT / "server" / "src" / "rowbank_server" / "retrieval"
PROCESSES: dict[str, type[settings.CommonSettings]] = {
    "rowbank up": settings.UpSettings,
    "rowbank serve ps": settings.PsSettings,
    "rowbank serve api": settings.ApiSettings,
}
JOBS = dict(commands(typer.main.get_command(trainer_app), "rowbank-train"))
PAGES_OF_JOB = {
    "rowbank-train two-tower": ("two-tower.md", "interactions.md"),
    "rowbank-train online": ("online.md", "interactions.md"),
    "rowbank-train rating": ("rating.md",),
    "rowbank-train unified": ("unified.md",),
    "rowbank-train recommend-all": ("recommend-all.md",),
}


def options(command: Any) -> set[str]:
    """The options of a command, with the names that switch one off."""
    return {name for one in command.params for name in [*one.opts, *one.secondary_opts] if name.startswith("--")}


def of_process(cls: type[settings.CommonSettings]) -> set[str]:
    """The options of a process, which are its settings."""
    return {f"--{name.replace('_', '-')}" for name in cls.model_fields} | {"--help"}


def page(name: str) -> str:
    return (DOCS / name).read_text()


def named(text: str, pattern: str) -> set[str]:
    """What stands in backticks and is of a form."""
    return set(re.findall(f"`({pattern})`", text))


def first_cells(text: str) -> list[str]:
    """The first cell of each line of all tables, without backticks."""
    return [line.split("|")[1].strip().strip("`") for line in text.splitlines() if line.startswith("| `")]


def section(text: str, heading: str) -> str:
    """What stands under the heading that names a command."""
    parts = re.split(r"^(?=#{2,3} )", text, flags=re.MULTILINE)
    wanted = re.compile(rf"### .*`{heading}[ `]")
    return next(part for part in parts if wanted.match(part))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in PROCESSES])
def test_options_stand_where_their_command_does(name):
    text = page("cli.md")
    shared = text.partition("## Running")[0]
    where = shared + section(text, name)
    assert not {option for option in options(COMMANDS[name]) if not re.search(rf"`[^`]*{option}(?![a-z-])", where)}


@pytest.mark.parametrize("name", JOBS)
def test_options_of_training_jobs_are_documented(name):
    text = "".join(page(one) for one in PAGES_OF_JOB[name])
    missing = [
        one.opts
        for one in JOBS[name].params
        if not all(re.search(rf"`{option}(?![a-z-])", text) for option in one.opts if option.startswith("--"))
        and not any(f"`{option}`" in text for option in one.secondary_opts)
    ]
    assert not missing


def test_options_in_the_docs_exist():
    known = {"--help", "--version", "--origin"}.union(*map(options, [*COMMANDS.values(), *JOBS.values()]))
    known |= set().union(*map(of_process, PROCESSES.values()))
    for one in PAGES:
        of_bench = {"--json", "--list", "--rows"} if one.name in ("performance.md", "CHANGELOG.md") else set()
        used = set(re.findall(r"`(--[a-z][a-z-]*)", one.read_text()))
        assert not used - known - of_bench, one


@pytest.mark.parametrize("line", [line for line in shell_lines() if re.match("rowbank (up|serve)|rowbank-train", line)])
def test_options_in_shown_commands_exist(line):
    words = line.removesuffix("&").split()
    size = 3 if words[1] == "serve" else 2
    name = " ".join(words[:size])
    known = of_process(PROCESSES[name]) if name in PROCESSES else options(JOBS[name])
    assert {word for word in words if word.startswith("--")} <= known


def test_initializers_and_optimizers_of_the_command_line_are_documented():
    from rowbank.cli import spec_text

    text = section(page("cli.md"), "rowbank table create")
    kinds = [*spec_text._INITIALIZERS, *(part.kind for part in spec_text._OPTIMIZERS)]
    assert not [kind for kind in kinds if not re.search(rf"`{kind}\b", text)]


def test_settings_say_in_the_docs_what_help_says():
    text = page("settings.md").replace("\\|", "|")  # As a table writes it.
    described = {name: field.description for cls in PROCESSES.values() for name, field in cls.model_fields.items()}
    rows = [line for line in text.splitlines() if re.match(r"\| `\w+` \| `ROWBANK_", line)]
    for cls in PROCESSES.values():
        for name, field in cls.model_fields.items():
            assert any(row.startswith(f"| `{name}` ") and row.endswith(f"| {field.description} |") for row in rows), (
                name
            )
    assert {row.split("`")[1] for row in rows} <= described.keys()


def test_fields_of_requests_and_answers_are_documented():
    text = page("retrieval.md")
    listed = endpoints_listed()
    fields = {name for one in listed if one.body for name in _fields(one.body)}
    fields |= {name for one in listed if one.answer for name in _fields(one.answer)}
    fields |= {*_fields(problems.ProblemDetails), *_fields(schemas.Item), *_fields(schemas.ModelVersion)}
    assert not {name for name in fields if not re.search(rf"[`\"]{name}[`\"]", text)}


def _fields(kind: Any) -> list[str]:
    return list(getattr(kind, "model_fields", None) or kind.__struct_fields__)


def endpoints_listed() -> list[Any]:
    """Every endpoint; its handler is never called."""

    class Names:
        def __getattr__(self, name: str) -> Any:
            return name

    return endpoints(Names())  # type: ignore[arg-type]


def test_endpoints_in_the_docs_exist():
    listed = {f"{one.method} {one.path}" for one in endpoints_listed()}
    text = page("retrieval.md")
    assert named(text, r"(?:GET|PUT|POST|DELETE) /[^`]*") <= listed
    assert [cell for cell in first_cells(text) if re.match("(GET|PUT|POST|DELETE) ", cell)] == [
        f"{one.method} {one.path}" for one in endpoints_listed()
    ]


def test_limits_of_requests_are_documented():
    text = page("retrieval.md")
    assert f"1 to {schemas.MAX_K}" in text
    assert f"at most {schemas.MAX_BATCH}" in text
    assert f"at most {schemas.MAX_LIST:,}" in text


def test_degraded_words_are_documented_and_no_others():
    source = "".join(path.read_text() for path in (RETRIEVAL / "stages").glob("*.py"))
    words = set(re.findall(r'degraded\.append\("([^"]+)"', source)) | {f"rows:{loss.value}" for loss in Loss}
    assert len(words) >= 8
    assert named(page("retrieval.md"), r"(?:user|session|features|rows|filled):[a-z_]+") == words


def test_sources_of_answers_are_documented():
    assert {source.value for source in Source} <= named(page("retrieval.md"), "[a-z]+")


def test_kinds_and_statuses_of_problems_are_documented_and_no_others():
    text = page("retrieval.md").partition("### Errors")[2].partition("\n## ")[0]
    source = "".join(path.read_text() for path in RETRIEVAL.rglob("*.py"))
    kinds = set(re.findall(r'ProblemError\(\s*\d+,\s*"([a-z-]+)"', source)) | {"no-such-path"}
    kinds |= {"method-not-allowed"}
    reasons = {reason.lower().replace("_", "-") for reason in BY_REASON}
    assert {"malformed-json"} <= kinds
    told = {
        kind for cell in re.findall(r"^\| \d+ \| ([^|]+) \|", text, re.MULTILINE) for kind in named(cell, "[a-z-]+")
    }
    assert kinds | {"not-ready", "overloaded", "unknown-item", "unknown-user"} <= told
    assert told <= kinds | reasons
    statuses = {int(found) for found in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert {status for one in endpoints_listed() for status in one.problems} | {405, 500} == statuses


def test_metrics_in_the_docs_exist_and_are_of_their_type():
    sources = [path.read_text() for path in (ROOT / "server" / "src").rglob("*.py")]
    names = {name for text in sources for name in re.findall(r'"(rowbank_[a-z_]+)"', text)}
    text = page("metrics.md")
    rows = dict(re.findall(r"^\| `((?:rowbank|process)_\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert len(rows) > 30
    for name, kind in rows.items():
        assert name.startswith("process_") or name in names or name.removesuffix("_total") in names, name
        assert name.endswith("_total") == (kind == "counter"), name
    for family in Metrics().registry.collect():
        assert rows[f"{family.name}_total" if family.type == "counter" else family.name] == family.type
    assert {name for one in PAGES for name in named(one.read_text(), r"rowbank_(?:api|table|index)\w*_\w+")} <= {*rows}


@pytest.mark.parametrize("reason", BY_REASON)
def test_errors_are_documented_as_they_are(reason):
    cls = BY_REASON[reason]
    retryable = "yes" if cls.retryable else "no"
    row = rf"\| `{reason}` \| {cls.code.name} \| `{cls.__name__}` \| .* \| {retryable} \|"
    assert re.search(rf"^{row}$", page("protocol.md"), re.MULTILINE)


def test_services_and_methods_are_documented():
    """Streams are marked, as a program that writes stubs must know them."""
    text = page("protocol.md")
    pool = descriptor_pool.Default()
    rows = re.findall(r"^\| `(\w+Service)` \| [^|]* \| ([^|]*) \|$", text, re.MULTILINE)
    assert len(rows) == 12
    for service, cell in rows:
        found = pool.FindServiceByName(f"rowbank.v1.{service}")
        expected = []
        for method in found.methods:
            proto: Any = _proto_of(found, method.name)
            streams = "requests" if proto.client_streaming else "answers" if proto.server_streaming else ""
            expected.append(f"`{method.name}`" + (f" (stream of {streams})" if streams else ""))
        assert cell.strip() == ", ".join(expected), service


def _proto_of(service: Any, method: str) -> Any:
    from google.protobuf import descriptor_pb2

    copy = descriptor_pb2.ServiceDescriptorProto()
    service.CopyToProto(copy)
    return next(one for one in copy.method if one.name == method)


def test_reasons_and_outcomes_of_evictions_are_documented():
    words = [name.removeprefix("EVICTION_REASON_").lower() for name in admin_pb2.EvictionReason.keys()[1:]]
    core = (ROOT / "server" / "bindings" / "reports.cc").read_text()
    outcomes = re.findall(r'"(below_watermark|out_of_time|complete)"', core)  # The others evict nothing.
    assert len(words) == 5
    assert len(set(outcomes)) == 3
    assert not {*words, *outcomes} - named(page("eviction.md"), "[a-z_]+")


def test_keys_in_redis_are_documented():
    layout, text = Layout("rowbank"), page("redis-layout.md")
    keys = [layout.catalog, layout.shards, layout.holds, layout.evictions]
    keys += [layout.tokens]
    keys += [layout.state(0), layout.common(0), layout.dedup(0), layout.journal_quarantine(0)]
    keys += [layout.journal(0, "5:name"), layout.sealed_journal(0, "5:name")]
    keys += [layout.epoch(3, 17), layout.rows(3, 17), layout.rows_rebuilt(3, 17), layout.quarantine(3, 17)]
    assert not [key for key in keys if f"| `{key}` |" not in text]


@pytest.mark.parametrize(("name", "codes"), [("cli.md", "0 1 2 3 130 141"), ("training.md", "0 1 2 130")])
def test_exit_codes_are_documented(name, codes):
    assert re.findall(r"^\| (\d+) \| ", page(name), re.MULTILINE) == codes.split()


def test_named_tests_and_folders_exist():
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    defined = set(re.findall(r"def (test_\w+)\(", sources))
    for one in PAGES:
        text = one.read_text()
        assert named(text, r"test_\w+") <= defined, one
        assert not [path for path in named(text, r"tests/[\w/.]+") if not (ROOT / path).exists()], one


def test_variables_in_the_docs_are_read():
    known = {settings.variable(cls, name) for cls in PROCESSES.values() for name in cls.model_fields}
    known |= settings.OTHER_VARIABLES
    for one in PAGES:
        assert set(re.findall(r"\bROWBANK_[A-Z_]*[A-Z]\b(?!_)", one.read_text())) <= known, one


def test_methods_of_the_client_in_the_docs_exist():
    """As in `client.models.prune(model, keep=5)` or `Client.pull`."""
    homes = {"client": Client, "Client": Client, "client.models": Models, "client.features": Features, "Table": Table}
    for one in PAGES:
        for home, name in re.findall(r"`(client\.models|client\.features|[cC]lient|Table)\.(\w+)", one.read_text()):
            assert hasattr(homes[home], name) or name in ("models", "features", "tokens"), f"{one.name}: {home}.{name}"
