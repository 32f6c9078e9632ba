"""Where settings come from, and which one wins."""

from __future__ import annotations

import pytest

from rowbank.addresses import split_address
from rowbank_server.__main__ import main
from rowbank_server.settings import (
    ApiSettings,
    PsSettings,
    SettingsError,
    UpSettings,
    is_loopback,
    load,
    variable,
)


@pytest.fixture(autouse=True)
def no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_arguments_win_over_variables_over_the_file_over_defaults(tmp_path, monkeypatch):
    (tmp_path / "rowbank.toml").write_text(
        'namespace = "file"\ntargets = "a:1,b:2"\n[ps]\nflush_interval_s = 4\nworker_threads = 4\nload_threads = 4\n'
    )
    assert load(PsSettings, {}).flush_interval_s == 4
    monkeypatch.setenv("ROWBANK_PS_FLUSH_INTERVAL_S", "3")
    monkeypatch.setenv("ROWBANK_PS_WORKER_THREADS", "3")
    settings = load(PsSettings, {"flush_interval_s": "2", "worker_threads": None})
    assert (settings.flush_interval_s, settings.worker_threads, settings.load_threads) == (2, 3, 4)
    assert settings.namespace == "file"
    assert settings.max_keys_per_request == 1_000_000
    assert load(ApiSettings, {}).targets == ("a:1", "b:2")
    monkeypatch.setenv("ROWBANK_NAMESPACE", "variable")
    assert {load(cls, {}).namespace for cls in (PsSettings, ApiSettings, UpSettings)} == {"variable"}


def test_the_file_may_lie_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWBANK_CONFIG", str(tmp_path / "other.toml"))
    with pytest.raises(SettingsError, match=r"other\.toml: cannot be read"):
        load(PsSettings, {})
    (tmp_path / "other.toml").write_text('namespace = "other"')
    assert load(PsSettings, {}).namespace == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("namespace = 'a b'", r"setting namespace \(ROWBANK_NAMESPACE\)"),
        ("flush_intervall_s = 1", "setting flush_intervall_s is unknown; did you mean flush_interval_s under"),
        (
            "[ps]\nflush_interval_s = -1",
            r"flush_interval_s \(ROWBANK_PS_FLUSH_INTERVAL_S\): .* above 0.*, got -1",
        ),
        ("= nonsense", r"rowbank\.toml: cannot be read as TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    (tmp_path / "rowbank.toml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        load(PsSettings, {})


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load(PsSettings, {}).namespace = "x"  # type: ignore[misc]


def test_every_setting_has_a_variable_and_says_what_it_is():
    for cls in (PsSettings, ApiSettings, UpSettings):
        for name, field in cls.model_fields.items():
            assert variable(cls, name).startswith("ROWBANK_")
            assert field.description


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:7700", ("127.0.0.1", 7700)), ("[::1]:0", ("[::1]", 0)), ("host.name:65535", ("host.name", 65535))],
)
def test_addresses(address, expected):
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["", "7700", ":7700", "host:", "host:65536", "::1:80", "host:-1", "a b:1"])
def test_what_is_no_address(address):
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(address)


def test_only_loopback_is_private():
    assert all(is_loopback(address) for address in ("127.0.0.1:1", "127.8.8.8:1", "localhost:1", "[::1]:1"))
    assert not any(is_loopback(address) for address in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host:1"))
    assert not is_loopback("127.example.org:1")  # A name, whatever it begins with.


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["ps", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert not [name for name in PsSettings.model_fields if f"--{name.replace('_', '-')}" not in text]


def test_wrong_settings_end_with_status_2(capsys):
    assert main(["ps", "--shard", "one"]) == 2
    assert "error: setting shard (ROWBANK_PS_SHARD)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["nothing"])
    assert ended.value.code == 2


def test_an_old_name_is_refused_with_the_new_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "rowbank.toml").write_text('[ps]\nmetrics_bind = "127.0.0.1:1"')
    with pytest.raises(SettingsError, match=r"rowbank\.toml: setting metrics_bind in \[ps\] is called http_bind now"):
        load(PsSettings, {})
    (tmp_path / "rowbank.toml").unlink()
    for arguments in (["ps", "--metrics-bind", "127.0.0.1:1"], ["ps", "--metrics-bind=127.0.0.1:1"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "option --metrics-bind is called http_bind now; it serves" in capsys.readouterr().err
    monkeypatch.setenv("ROWBANK_PS_METRICS_BIND", "")
    for process in ("ps", "up"):
        assert main([process]) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: variable ROWBANK_PS_METRICS_BIND is called ROWBANK_PS_HTTP_BIND now; it serves")
