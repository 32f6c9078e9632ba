"""The servers with the very variables of the manifests: certificates, tokens, probes as the kubelet makes them."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.deploy.test_kubernetes import base, container, pods
from tests.processes import PsProcess, until
from tests.retrieval.support import ApiProcess, World, serving

import rowbank
from rowbank import Credentials
from rowbank.errors import Unauthenticated
from rowbank.token_text import new_token
from rowbank_server.security.admin_file import AdminFile

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed: it makes the certificate"
)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """What the Secrets hold, in a folder: a certificate that signed itself, and tokens."""
    folder = tmp_path_factory.mktemp("secrets")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=rowbank", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "tls.key"]
    subprocess.run([*command, "-out", folder / "tls.crt"], check=True, capture_output=True)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
    (folder / "admin").write_text(new_token().text)
    for name in ("tls.key", "admin"):
        (folder / name).chmod(0o600)
    return folder


def environment(name, secrets, **known):
    """The variables of a container, with the files of `secrets` and what Kubernetes would put in."""
    given = {"POD_NAME": "rowbank-ps-0", "POD_NAMESPACE": "rowbank", "POD_INDEX": "0", "SHARDS": "1"}
    variables = {}
    for one in container(pods(base())[name])["env"]:
        text = known.get(one["name"], one.get("value"))
        if text is None:
            continue
        text = re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], text)
        variables[one["name"]] = re.sub(r"^/etc/rowbank/(tls|tokens)", str(secrets), text)
    return variables


def test_shard_and_service_as_the_manifests_have_them(secrets, redis_url, namespace, tmp_path):
    local = {"ROWBANK_PS_HTTP_BIND": "127.0.0.1:0", "ROWBANK_PS_ADVERTISE": ""}
    variables = environment("rowbank-ps", secrets, **local)
    assert variables["ROWBANK_PS_SHARD"] == "0/1"
    me = Credentials(ca_file=str(secrets / "ca.crt"), token_file=str(secrets / "admin"))
    trusted = ssl.create_default_context(cafile=secrets / "ca.crt")
    world = World(namespace)
    with contextlib.ExitStack() as held:
        ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=tmp_path / "ps.log", environment=variables)
        held.callback(ps.close)
        ps.wait_ready()
        # As the kubelet asks: over TLS, without a token, and without a look at the certificate.
        with httpx.Client(verify=False) as kubelet:
            assert kubelet.get(f"{ps.http_url}/readyz").status_code == 200
        with rowbank.Client(ps.target, credentials=me) as client:
            world.create_tables(client)
            world.write_features(client)
            world.publish(client, "v1")
            asking = client.tokens.create("asking", "read").token  # The service is given no admin's.
            assert client.table(f"user-{namespace}").pull(np.array([1])).shape == (1, 8)
        with pytest.raises(Unauthenticated):
            rowbank.Client(ps.target, credentials=Credentials(ca_file=str(secrets / "ca.crt")))
        shutil.copy(secrets / "admin", secrets / "server")
        local = {"ROWBANK_API_GRPC_BIND": "127.0.0.1:0", "ROWBANK_API_INDEX_DIR": str(tmp_path / "index")}
        variables = environment("rowbank-api", secrets, **local)
        api = ApiProcess(redis_url=redis_url, target=ps.target, namespace=namespace, log=tmp_path / "api.log",
                         environment=variables)  # fmt: skip
        held.callback(api.close)
        api.wait_ready()
        header = {"authorization": f"Bearer {asking}"}
        with httpx.Client(base_url=api.url, verify=trusted, headers=header, timeout=30) as http:
            serving(http, "v1")
            assert http.post("/v1/recommend", json={"user_id": 3}).json()["source"] == "personal"
            until(lambda: httpx.get(f"{api.url}/readyz", verify=trusted).status_code == 200, what="ready")
        assert api.terminate() == 0, api.log
        assert ps.terminate() == 0, ps.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand a file to another group")
@pytest.mark.parametrize(("mode", "works"), [(0o440, True), (0o400, False), (0o444, False), (0o460, False)])
def test_a_mounted_secret_is_root_s_and_the_group_s(mode, works):
    """As Kubernetes mounts one with fsGroup: root owns it, the process's group may read it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "admin")
        path.write_text(new_token().text)
        os.chown(path, 0, 10001)
        path.chmod(mode)
        codecs.lookup("ascii")  # What is imported later may not be readable for everybody.
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([10001])
                os.setgid(10001)
                os.setuid(10001)
                AdminFile(str(path))
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0) is works
