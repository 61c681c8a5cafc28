"""Certificates made for a test, and TLS servers that are odd in one way each."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import trustme

from support.servers import HOST, SNIPPETS, Orthanc, run_tool


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key, as PEM files."""

    cert: Path
    key: Path

    @property
    def dcmtk(self) -> tuple[str, ...]:
        """As options of a DCMTK program."""
        return "+tls", str(self.key), str(self.cert)

    @property
    def px(self) -> tuple[str | Path, ...]:
        """As options of px."""
        return "--tls-cert", self.cert, "--tls-key", self.key


class Certificates:
    """A CA and what it has signed, and another CA that nobody knows."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca, self._other = trustme.CA(), trustme.CA()
        self.ca = self._write("ca.pem", self._ca.cert_pem)
        self.other_ca = self._write("other-ca.pem", self._other.cert_pem)
        expired = datetime(2020, 1, 1, tzinfo=timezone.utc)
        self.server = self._identity("server", self._ca.issue_cert(HOST, "localhost"))
        self.expired = self._identity("expired", self._ca.issue_cert(HOST, not_after=expired))
        self.other_host = self._identity("other-host", self._ca.issue_cert("pacs.example.org"))
        self.client = self._identity(
            "client", self._ca.issue_cert("scanner.example.org", common_name="scanner", organization_name="Hospital")
        )
        self.stranger = self._identity("stranger", self._other.issue_cert(HOST))

    def locked(self, passphrase: str, whose: Identity | None = None) -> Identity:
        """The client's, or another, its key locked by a passphrase."""
        whose = whose or self.client
        key = self._directory / f"locked-{whose.key.name}"
        argv = ["openssl", "pkey", "-in", str(whose.key), "-aes128", "-passout", f"pass:{passphrase}"]
        subprocess.run([*argv, "-out", str(key)], check=True, capture_output=True, timeout=30)
        key.chmod(0o600)
        return Identity(whose.cert, key)

    def _identity(self, name: str, leaf: trustme.LeafCert) -> Identity:
        return Identity(
            self._write(f"{name}.crt", *leaf.cert_chain_pems), self._write(f"{name}.key", leaf.private_key_pem)
        )

    def _write(self, name: str, *blobs: trustme.Blob) -> Path:
        path = self._directory / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        path.chmod(0o600)
        return path


class TlsOrthanc(Orthanc):
    """An Orthanc that speaks DICOM by TLS only and demands certificates: docs/snippets/orthanc-tls.json."""

    def __init__(self, directory: Path, certificates: Certificates) -> None:
        self._certificates = certificates
        own = certificates.server
        snippet = json.loads((SNIPPETS / "orthanc-tls.json").read_text())
        files = {
            "DicomTlsCertificate": str(own.cert),
            "DicomTlsPrivateKey": str(own.key),
            "DicomTlsTrustedCertificates": str(certificates.ca),
        }
        assert files.keys() <= snippet.keys()
        super().__init__(directory, {**snippet, **files, "DicomModalities": {}})

    def echo(self) -> subprocess.CompletedProcess[str]:
        tls = (*self._certificates.client.dcmtk, "+cf", str(self._certificates.ca))
        return run_tool("echoscu", "-to", "5", "-ta", "5", "-td", "5", *tls, "-aec", self.aet, HOST, str(self.port))


@contextmanager
def tls_peer(identity: Identity, configure: Callable[[ssl.SSLContext], object]) -> Iterator[int]:
    """Port of a peer that does handshakes as `configure` says, one after the other, and then hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.cert, identity.key)
    configure(context)

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(10)
                    context.wrap_socket(connection, server_side=True).close()

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
