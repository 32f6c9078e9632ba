"""A CA of a test's own and the files that it makes."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import trustme

from rowbank import Credentials

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates and writes them into `folder`; `ca` is the file of its own certificate."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.ca = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.ca)

    def issue(self, name: str, *hosts: str, days: tuple[int, int] = (-1, 30)) -> tuple[Path, Path]:
        """Files NAME.pem and NAME.key of a certificate for `hosts`, valid from and until so many days from now.

        Each file is replaced as a whole, the certificate first, as tools that renew certificates do it.
        """
        made = self._ca.issue_cert(
            *(hosts or ("127.0.0.1", "localhost")), not_before=NOW + days[0] * DAY, not_after=NOW + days[1] * DAY
        )
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        replace(certificate, b"".join(part.bytes() for part in made.cert_chain_pems))
        replace(key, made.private_key_pem.bytes())
        return certificate, key

    def options(self, name: str = "server", *, mutual: bool = False) -> list[str]:
        """Of a server that shows NAME, and connects to others."""
        pair = ["--tls-certificate", str(self.folder / f"{name}.pem"), "--tls-key", str(self.folder / f"{name}.key")]
        return [*pair, "--tls-ca", str(self.ca), *(["--tls-client-ca", str(self.ca)] if mutual else [])]

    def credentials(self, name: str = "", **others: str) -> Credentials:
        """Of a client that trusts this CA, and shows NAME if one is given."""
        own = {}
        if name:
            own = {
                "certificate_file": str(self.folder / f"{name}.pem"),
                "key_file": str(self.folder / f"{name}.key"),
            }
        return Credentials(**{"ca_file": str(self.ca), **own, **others})

    def environment(self, name: str = "") -> dict[str, str]:
        """The variables that say what `credentials` does."""
        said = {"ROWBANK_TLS_CA": str(self.ca)}
        if name:
            said["ROWBANK_TLS_CERTIFICATE"] = str(self.folder / f"{name}.pem")
            said["ROWBANK_TLS_KEY"] = str(self.folder / f"{name}.key")
        return said


def replace(path: Path, data: bytes) -> None:
    """Writes a file anew in one step."""
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_bytes(data)
    os.replace(beside, path)
