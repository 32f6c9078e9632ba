"""What the command line does without a server: help, usage errors, output and lazy imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rowbank import FTRL, Adagrad, Adam, Constant, Momentum, Uniform, Zeros
from rowbank.cli.options import OutputFormat
from rowbank.cli.output import emit_record, emit_rows
from rowbank.cli.screen.layout import table_lines
from rowbank.cli.screen.texts import shown
from rowbank.cli.spec_text import parse_initializer, parse_optimizer, text_of
from rowbank.errors import InvalidSpec

HEAVY = {"grpc", "numpy", "rich", "google.protobuf", "rowbank_server", "tensorflow"}


def rowbank(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed command to its end."""
    code = "from rowbank.cli import main; main()"
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["table", "create", "--help"], ["recommend", "--help"], ["filters", "put", "--help"], ["--version"]],
)
def test_help_imports_nothing_heavy(arguments):
    code = "\n".join(
        [
            "import sys",
            "from rowbank.cli import main",
            "try:",
            "    main()",
            "finally:",
            "    print('\\n'.join(sys.modules), file=sys.stderr)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert "rowbank" in done.stdout
    assert not HEAVY & set(done.stderr.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["evict", "users"],
        ["evict", "users", "--keep", "many"],
        ["tables", "-o", "yaml"],
        ["top", "users", "--by", "age"],
        ["table", "drop", "users"],
        ["evict", "users", "--keep", "-1"],
    ],
)
def test_wrong_usage_exits_2_and_says_so(arguments):
    done = rowbank(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["table", "create", "t", "--dim", "0"], "error: --dim: expected an integer from 1 to 4096, got '0'"),
        (["table", "create", "t", "--dim", "4", "--optimizer", "sgdd"], "error: --optimizer: expected one of sgd, "),
        (
            ["table", "create", "t", "--dim", "4", "--optimizer", "sgd:rate=1"],
            "error: --optimizer: sgd takes NAME=NUMBER of clip_value, max_norm, learning_rate, got 'rate=1'",
        ),
        (
            ["table", "create", "t", "--dim", "4", "--initializer", "uniform:seed=x"],
            "error: --initializer: seed is an integer, got 'x'",
        ),
    ],
)
def test_bad_spec_is_one_line_on_stderr(arguments, expected):
    done = rowbank(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(expected)
    assert done.stderr.count("\n") == 1


def test_unreachable_server_is_one_line_on_stderr():
    done = rowbank("tables", "--target", "127.0.0.1:9")  # Nothing listens on the discard port.
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "127.0.0.1:9" in done.stderr
    assert "`rowbank up` starts one" in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_server_package_is_named(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'rowbank_server' else find(name, package)\n"
    )
    done = rowbank("serve", "ps", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "pip install 'rowbank-server[embedded]'" in done.stderr


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("zeros", Zeros()),
        ("constant:value=0.5", Constant(0.5)),
        ("uniform:low=-0.05,high=0.05,seed=7", Uniform(-0.05, 0.05, seed=7)),
    ],
)
def test_initializers_are_read_and_written(text, part):
    assert parse_initializer(text) == part
    assert parse_initializer(text_of(part)) == part


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("adagrad:learning_rate=0.1", Adagrad(0.1)),
        ("adam:learning_rate=0.001,amsgrad=true", Adam(0.001, amsgrad=True)),
        ("momentum:nesterov=true,clip_value=1", Momentum(nesterov=True, clip_value=1.0)),
        ("ftrl:l1=0.25", FTRL(l1=0.25)),
    ],
)
def test_optimizers_are_read_and_written(text, part):
    assert parse_optimizer(text) == part
    assert parse_optimizer(text_of(part)) == part


def test_flag_that_is_no_flag_is_refused():
    with pytest.raises(InvalidSpec, match="amsgrad is true or false, got '1'"):
        parse_optimizer("adam:amsgrad=1")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("bytes", 1536, "1.5 KiB"),
        ("rows", 1234567, "1,234,567"),
        ("key", 1234567, "1234567"),
        ("at_ms", 1_700_000_000_000, "2023-11-14 22:13:20Z"),
        ("last_write_back_s", 0.0, "never"),
        ("found", False, "no"),
        ("score_cut", 2.5, "2.5"),
        ("durability", None, "-"),
    ],
)
def test_values_read_well(field, value, text):
    assert shown(field, value) == text


def test_outputs_agree(capsys):
    records = [{"name": "a", "rows": 2}, {"name": "b", "rows": 10}]
    columns = {"name": "TABLE", "rows": "ROWS"}
    emit_rows(records, columns, OutputFormat.JSON, empty="none")
    assert json.loads(capsys.readouterr().out) == records
    emit_rows(records, columns, OutputFormat.CSV, empty="none")
    assert capsys.readouterr().out == "name,rows\na,2\nb,10\n"
    emit_rows(records, columns, OutputFormat.TABLE, empty="none")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["TABLE  ROWS", "a         2", "b        10"]


def test_narrow_table_leaves_out_its_last_columns():
    record = {"name": "users", "rows": 1234567, "step": 3}
    headings = {"name": "TABLE", "rows": "ROWS", "step": "STEP"}
    shown_at = {width: table_lines([record], headings, width)[0].split() for width in (5, 15, 16, 20, 22)}
    assert shown_at == {
        5: ["TABLE"],
        15: ["TABLE"],
        16: ["TABLE", "ROWS"],  # 5 + 2 + 9
        20: ["TABLE", "ROWS"],
        22: ["TABLE", "ROWS", "STEP"],  # 16 + 2 + 4
    }


def test_nothing_is_said_for_people_and_empty_for_programs(capsys):
    emit_rows([], {"name": "TABLE"}, OutputFormat.TABLE, empty="no tables")
    emit_rows([], {"name": "TABLE"}, OutputFormat.JSON, empty="no tables")
    assert capsys.readouterr().out == "no tables\n[]\n"


def test_one_record_is_an_object(capsys):
    emit_record({"name": "a", "rows": 2}, OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == {"name": "a", "rows": 2}


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["status", "-t", "garbage:port"], {}, "--target: expected HOST:PORT"),
        (["stat", "-t", "a:1,,b:1"], {}, "--target: expected distinct addresses"),
        (["shards"], {"ROWBANK_TARGETS": "a:99999"}, "variable ROWBANK_TARGETS: expected HOST:PORT"),
        (["popular", "-r", "a|b"], {}, "--retrieval: expected addresses separated by commas"),
    ],
)
def test_an_address_that_is_none_is_wrong_usage(arguments, variables, said):
    done = rowbank(*arguments, **variables)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"], ["tokens", "generate"]])
def test_output_that_nobody_reads_ends_a_command_without_a_word(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        command = [sys.executable, "-m", "rowbank.cli", *arguments]
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
