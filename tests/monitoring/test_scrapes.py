"""Live processes tell exactly the metrics that docs/metrics.md promises: names, types and labels."""

from __future__ import annotations

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from tests.monitoring.documented import documented
from tests.processes import closing
from tests.retrieval.support import ApiProcess

from rowbank import SGD, Client, TableSpec

# Only where TLS or tokens are on.
OPTIONAL = ("rowbank_tls_", "rowbank_auth_")
Scraped = dict[str, tuple[str, frozenset[str]]]


def scraped(url: str) -> Scraped:
    """Type and labels of each family, by the name that the docs use."""
    found = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=30).text):
        labels = {name for sample in family.samples for name in sample.labels} - {"le", "worker"}
        found[f"{family.name}_total" if family.type == "counter" else family.name] = (family.type, frozenset(labels))
    return found


def test_metrics_are_the_documented_ones_both_ways(start_ps, redis_url, namespace, tmp_path):
    owner = start_ps("--http-bind", "127.0.0.1:0")
    replica = start_ps("--replica", "--http-bind", "127.0.0.1:0")
    with Client(owner.target) as client:
        table = client.create_table(TableSpec("t", dim=2, optimizer=SGD(1.0)))
        table.push(np.arange(10), np.ones((10, 2), "f4"))
        table.pull(np.arange(10))
        table.restrict(5)
        log = tmp_path / "api.log"
        api = ApiProcess("--workers", "2", redis_url=redis_url, target=owner.target, namespace=namespace, log=log)
        with closing(api):
            api.wait_ready()
            found: Scraped = {}
            for url in (owner.http_url, replica.http_url, api.url):
                for name, (kind, labels) in scraped(url).items():
                    found[name] = (kind, labels | found.get(name, (kind, frozenset()))[1])
    promised = documented()
    assert found.keys() - promised.keys() == set()
    assert {name for name in promised.keys() - found.keys() if not name.startswith(OPTIONAL)} == set()
    assert {name: kind for name, (kind, _) in found.items()} == {name: promised[name].kind for name in found}
    # A family that has no samples here shows no labels; `worker` is any family's, of several workers.
    wrong = {name: labels for name, (_, labels) in found.items() if not labels <= promised[name].labels}
    assert wrong == {}
    names = {name for one in promised.values() for name in one.labels}
    assert not names & {"user", "item", "key", "id", "user_id", "item_id"}
