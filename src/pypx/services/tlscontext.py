"""TLS contexts of our own making, and what went wrong with one in words.

The profile is the non-downgrading BCP 195 one of DICOM (PS3.15 B.10), as DCMTK 3.6.7 offers it with
``--profile-bcp195-nd``: TLS 1.2 with ephemeral keys and AES-GCM, or TLS 1.3; besides its RSA suites the same with
ECDSA, without which a PACS with such a certificate would be cut off from TLS 1.2.
"""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

from pypx.errors import InputError
from pypx.model.pacs import TlsSettings

_SUITES = (
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=2"
)
_OTHERS_OR_GROUP_WRITES = 0o027
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21, 33})
_OTHER_HOST = frozenset({62, 64})
_WRONG_PURPOSE = 26
_NO_TLS = frozenset({
    "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE",
    "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "UNEXPECTED_EOF_WHILE_READING", "BAD_RECORD_TYPE",
})  # fmt: skip
_REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "none was given",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "none was given",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust its CA",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it has been revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it is not accepted",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "its kind or purpose is not accepted",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it is not accepted",
    "TLSV1_ALERT_ACCESS_DENIED": "access is denied",
    "TLSV1_ALERT_DECRYPT_ERROR": "its signature is not accepted",
}
_OLD_TLS = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"})


@functools.lru_cache(maxsize=8)
def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context that checks certificate and host name of the peer.

    Raises
    ------
    InputError : a file cannot be used, or a key that others may read
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings)
    if settings.ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A context for our listener; with `settings.ca` it demands a certificate that is signed by one of these.

    Raises
    ------
    InputError : there is no certificate; a file cannot be used; a key that others may read
    """
    if settings.cert is None:
        raise InputError("--tls: a listener needs a certificate and its key: give --tls-cert FILE and --tls-key FILE")
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    context.verify_mode = ssl.CERT_REQUIRED if settings.ca else ssl.CERT_NONE
    return context


def _context(protocol: int, settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a device's own certificate may be named as trusted
    if settings.ca is not None:
        try:
            context.load_verify_locations(settings.ca)
        except ssl.SSLError:
            raise InputError(f"--tls-ca {settings.ca}: no certificates in PEM format") from None
        except OSError as error:
            raise InputError(f"--tls-ca {settings.ca}: {error.strerror or error}") from None
    if settings.cert is not None:
        _load_own(context, settings.cert, settings)
    return context


def _load_own(context: ssl.SSLContext, cert: Path, settings: TlsSettings) -> None:
    key = settings.key or cert
    check_private(key, "--tls-key")
    _read(cert, "--tls-cert")
    try:
        context.load_cert_chain(cert, key, password=lambda: _passphrase(key, settings))
    except ssl.SSLError as error:
        reason = {
            "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
            "NO_START_LINE": "no certificate and key in PEM format",
        }.get(error.reason or "", "not in PEM format, or the passphrase of the key is wrong")
        raise InputError(f"--tls-cert {cert}, --tls-key {key}: {reason}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"--tls-cert {cert}, --tls-key {key}: cannot be used: {error}") from None


def check_private(path: Path, what: str) -> None:
    """Refuse a file that holds a secret where others have access to it, or its group may change it.

    Raises
    ------
    InputError : so it is; or there is no such file
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"{what} {path}: {error.strerror or error}") from None
    if mode & _OTHERS_OR_GROUP_WRITES:
        raise InputError(f"{what} {path}: other users have access to it; chmod 600 it (and have a new one made)")


def _passphrase(key: Path, settings: TlsSettings) -> str:
    if settings.password_file is not None:
        check_private(settings.password_file, "--tls-key-password-file")
        return _read(settings.password_file, "--tls-key-password-file").rstrip("\r\n")
    if settings.password is None:
        raise InputError(f"--tls-key {key} has a passphrase: name the file that holds it with --tls-key-password-file")
    return settings.password


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError as error:
        raise InputError(f"{what} {path}: {error.strerror or error}") from None


def why_no_tls(error: OSError, settings: TlsSettings, name: str) -> str:
    """Why there is no TLS connection to a PACS: what it did, and what to do.

    Parameters
    ----------
    name : the host name that its certificate must have
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_untrusted(error, name)
    reason = getattr(error, "reason", None) or ""
    if reason in _REFUSALS:
        asks = "it asks for a client certificate: give --tls-cert FILE and --tls-key FILE"
        return f"it refuses our certificate: {_REFUSALS[reason]}; check --tls-cert" if settings.cert else asks
    if "HANDSHAKE_FAILURE" in reason:
        cause = "lack" if settings.cert else "ask for a client certificate (--tls-cert, --tls-key), or lack"
        return f"it refuses the TLS handshake; it may {cause} the cipher suites of BCP 195"
    if reason in _OLD_TLS:
        return "it offers no TLS 1.2 or 1.3, only older versions"
    if reason in _NO_TLS or isinstance(error, ssl.SSLEOFError) or not isinstance(error, ssl.SSLError):
        return "it does not speak TLS on this port; check the port, or leave out --tls"
    return f"TLS failed: {reason.replace('_', ' ').lower() or 'no reason given'}"


def _why_untrusted(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "its certificate has expired; its administrator has to renew it"
    if code == _NOT_YET:
        return "its certificate is not valid yet; is the clock of this host right?"
    if code in _UNKNOWN_CA:
        return "its certificate is not signed by a CA that we trust; name that CA with --tls-ca FILE"
    if code in _OTHER_HOST:
        return f"its certificate is not for {name}; if it is the right PACS, give the name in it with --tls-name NAME"
    if code == _WRONG_PURPOSE:
        return "its certificate is not for the purpose of a server"
    return f"its certificate is not accepted: {error.verify_message[:80]}"


_LISTENER_WORDS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it gave no certificate, and --tls-ca demands one",
    "NO_SHARED_CIPHER": "it offers no cipher suite of BCP 195",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS 1.2 or 1.3",
    **dict.fromkeys(_NO_TLS, "it does not speak TLS"),
    **{alert: f"it refuses our certificate: {text}" for alert, text in _REFUSALS.items() if "_ALERT_" in alert},
}


def why_refused(error: OSError) -> str | None:
    """Why a peer of our listener got no TLS connection; ``None`` if it just went away."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _UNKNOWN_CA:
            return "its certificate is not signed by a CA of --tls-ca"
        return f"its certificate is not accepted: {error.verify_message[:80]}"
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLEOFError) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return None
    return _LISTENER_WORDS.get(reason) or reason.replace("_", " ").lower() or None


def subject(peer: object) -> str | None:
    """The subject of what ``SSLSocket.getpeercert()`` gives: ``CN=pacs, O=Hospital``, at most 200 characters."""
    names = {"commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C"}
    if not isinstance(peer, dict):
        return None
    parts = (
        f"{names.get(name, name)}={value}"
        for rdn in peer.get("subject", ())
        for name, value in rdn
    )  # fmt: skip
    text = "".join(char if char.isprintable() else "?" for char in ", ".join(parts))
    return text[:200] or None
