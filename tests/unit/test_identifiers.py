from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypx.errors import InputError
from pypx.model.identifiers import is_uid, parse_ae_title, parse_host, parse_port, parse_uid


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "2.25.1", "1." + "2" * 62, "1.02.3"])
def test_uids_are_taken(text: str) -> None:
    assert is_uid(text)
    assert parse_uid(f" {text}\0") == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "1..2", "1.2.", ".1", "1.2/3", "1.2\n", "1.a", "1" * 65, "１.２", "../1", "1.2;rm"]
)
def test_what_is_no_uid_is_refused(text: str) -> None:
    assert not is_uid(text)
    with pytest.raises(InputError, match="StudyInstanceUID"):
        parse_uid(text, "StudyInstanceUID")


@given(st.text())
def test_a_uid_is_safe_as_a_file_name(text: str) -> None:
    if is_uid(text):
        assert set(text) <= set("0123456789.")
        assert text.strip(".") == text != ""


@pytest.mark.parametrize(
    ("text", "title"), [("ORTHANC", "ORTHANC"), (" A B ", "A B"), ("x" * 16, "x" * 16), ("$(id)", "$(id)")]
)
def test_ae_titles_are_taken(text: str, title: str) -> None:
    assert parse_ae_title(text) == title


@pytest.mark.parametrize("text", ["", "   ", "x" * 17, "A\\B", "A\nB", "ÄE", "-aec", "A\0"])
def test_what_is_no_ae_title_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="calling"):
        parse_ae_title(text, "calling AE title")


@pytest.mark.parametrize("port", ["1", 4242, "65535", " 104 "])
def test_ports_are_taken(port: str | int) -> None:
    assert parse_port(port) == int(port)


@pytest.mark.parametrize("port", ["0", -1, 65536, "", "4242x", "١٠٤", "1_0", "+104", "1e3", "9" * 5000])
def test_what_is_no_port_is_refused(port: str | int) -> None:
    with pytest.raises(InputError, match="TCP port"):
        parse_port(port)


@pytest.mark.parametrize("host", ["127.0.0.1", "pacs.example.org", "::1", "fe80::1%eth0", "pacs-1", "a"])
def test_hosts_are_taken(host: str) -> None:
    assert parse_host(host) == host


@pytest.mark.parametrize("host", ["", "-x", "a b", "a;b", "$(id)", "a\nb", "http://x", "x" * 256])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="host"):
        parse_host(host)
