"""px's C-ECHO against real peers: up, down, wrong titles, silent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError, ToolMissingError
from pypx.model.identifiers import AETitle
from pypx.model.peers import PacsNode
from pypx.services.dcmtk import Limits, Programs
from pypx.workflows.echo import echo
from support.scripted import FIND, scripted_pacs
from support.servers import Dcmqrscp, Orthanc, Pacs
from support.silent import mute_peer

LIMITS = Limits(connect_s=3, acse_s=2, dimse_s=5)


def node(port: int, called: str = "ANY", calling: str = "PX") -> PacsNode:
    return PacsNode("127.0.0.1", port, AETitle(called), AETitle(calling), AETitle(calling))


def refusal(peer: PacsNode) -> PxError:
    with pytest.raises(PxError) as caught:
        echo(peer, limits=LIMITS)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def pacs(request: pytest.FixtureRequest) -> Pacs:
    server: Orthanc | Dcmqrscp = request.getfixturevalue(request.param)
    return server


def test_an_archive_answers(pacs: Pacs) -> None:
    outcome = echo(node(pacs.port, pacs.aet), limits=LIMITS)
    assert outcome.peer.called_aet == pacs.aet
    assert 0 < outcome.seconds < 5


def test_wrong_called_title_is_rejected_with_its_reason(pacs: Pacs) -> None:
    error = refusal(node(pacs.port, "WRONG"))
    assert type(error) is PeerRejectedError
    assert error.exit_code == 11
    assert "Called AE Title Not Recognized" in str(error)


def test_unknown_calling_title_is_rejected_with_its_reason() -> None:
    with scripted_pacs(calling=("SOMEBODY",)) as peer:
        error = refusal(node(peer.port, peer.aet))
    assert type(error) is PeerRejectedError
    assert "Calling AE Title Not Recognized" in str(error)


def test_nobody_listens(free_port: Callable[[], int]) -> None:
    error = refusal(node(free_port()))
    assert type(error) is PeerUnreachableError
    assert "Connection refused" in str(error)


def test_a_silent_peer_is_unreachable() -> None:
    with mute_peer() as port:
        error = refusal(node(port))
    assert type(error) is PeerUnreachableError
    assert "does not answer" in str(error)


def test_a_web_server_is_no_pacs() -> None:
    with mute_peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        error = refusal(node(port))
    assert type(error) is PeerUnreachableError
    assert "not in DICOM" in str(error)


def test_unknown_host() -> None:
    peer = PacsNode("no-such-host.invalid", 104, AETitle("A"), AETitle("B"), AETitle("B"))
    assert "the host name is unknown" in str(refusal(peer))


def test_another_status_than_success_is_a_failure() -> None:
    with scripted_pacs(echo=lambda _event: 0x0122) as peer:
        error = refusal(node(peer.port, peer.aet))
    assert type(error) is PeerFailedError
    assert "0x122" in str(error)


def test_a_peer_without_verification() -> None:
    with scripted_pacs(abstract_syntaxes=(FIND["study"],)) as peer:
        error = refusal(node(peer.port, peer.aet))
    assert isinstance(error, PeerFailedError)
    assert "does not offer" in str(error)


def test_missing_echoscu() -> None:
    with pytest.raises(ToolMissingError, match="apt-get install dcmtk"):
        echo(node(104), limits=LIMITS, programs=Programs(echoscu="no-such-echoscu"))
