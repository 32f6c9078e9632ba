"""Alert rules and the dashboard: every expression parses, and names metrics and labels that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import promql_parser
import pytest
import yaml
from tests.monitoring.documented import ROOT, documented, samples

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
}
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "rowbank.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus adds to every series, and `worker`, where there are several.
ADDED = {"instance", "job", "worker"}
KNOWN = {**samples(documented()), "up": frozenset[str]()}


def require_known(text: str) -> None:
    """Every metric and label of an expression is one that there is."""
    names: set[str] = set()
    labels: set[str] = set()

    def visit(part: object) -> None:
        if isinstance(part, promql_parser.VectorSelector):
            names.add(part.name)
            wanted = {matcher.name for matcher in part.matchers.matchers}
            assert wanted <= KNOWN.get(part.name, frozenset()) | ADDED, (part.name, wanted)
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            labels.update(part.modifier.labels)

    # Grafana fills these in.
    expression = text.replace("$__rate_interval", "5m").replace("$instance", ".*")
    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    assert names
    assert names <= KNOWN.keys(), names - KNOWN.keys()
    assert labels <= frozenset().union(*(KNOWN[name] for name in names)) | ADDED, (text, labels)


@pytest.mark.parametrize("name", RULES)
def test_alerts_ask_for_what_there_is(name):
    rule = RULES[name]
    require_known(rule["expr"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown <= ADDED | frozenset().union(*(KNOWN[one] for one in KNOWN if one in rule["expr"]))


def test_alerts_stand_in_the_docs_with_what_to_do_and_the_reverse():
    text = (ROOT / "docs" / "alerts.md").read_text()
    sections = dict(re.findall(r"^### (Rowbank\w+)\n\n(.*?)(?=\n##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert sections.keys() == RULES.keys()
    assert not [name for name, said in sections.items() if len(said) < 60]


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on PATH; on Debian: apt-get install prometheus"
)
@pytest.mark.parametrize("words", ["check rules alerts.yaml", "check config prometheus.yml", "test rules tests.yaml"])
def test_prometheus_itself_takes_them(words):
    done = subprocess.run(["promtool", *words.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_ask_for_what_there_is(panel):
    assert panel["targets"]
    for target in panel["targets"]:
        require_known(target["expr"])
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        kept = (
            set(re.findall(r"by \(([^)]*)\)", target["expr"])[0].replace(" ", "").split(",")) - {"le"}
            if (" by (" in target["expr"])
            else ADDED
        )
        assert shown <= kept, target


def test_the_dashboard_can_be_imported():
    """A version that Grafana knows, a data source that is chosen, ids that differ, panels that do not overlap."""
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["id"] is None
    kinds = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "instance": "query"}
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
