"""Receivers that cannot prove who they are get nothing."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from scripted_receiver import ScriptedReceiver

from consumers.webhooks.answers import Limits
from consumers.webhooks.resolving import Resolver
from consumers.webhooks.sending import Answer, Sender, tls_context
from schemas.errors import InvalidInput

pytestmark = pytest.mark.anyio

NAME = "hooks.example"
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: they report what goes wrong with a connection each in its own way."""
    return "asyncio", {"use_uvloop": request.param}


@dataclass(frozen=True)
class Authority:
    """Signs certificates for as long as a test lives."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, folder: Path, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 100 * DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        folder.mkdir(exist_ok=True)
        (folder / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    @property
    def file(self) -> str:
        return str(self.folder / "authority.pem")

    def server(
        self,
        *names: str,
        since: datetime.timedelta = -DAY,
        until: datetime.timedelta = DAY,
        self_signed: bool = False,
        common_name: str = "receiver",
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> ssl.SSLContext:
        """A receiver's context, with a certificate for these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + since)
            .not_valid_after(now + until)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        certificate = builder.sign(key if self_signed else self.key, hashes.SHA256())
        file = self.folder / f"{certificate.serial_number}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path / "district", "A district's authority")


async def _here(name: str) -> Sequence[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def sending(authorities: str | None, limits: Limits | None = None) -> AsyncIterator[Sender]:
    sender = Sender(Resolver(_here), tls=tls_context(authorities), limits=limits)
    try:
        yield sender
    finally:
        await sender.close()


async def post(sender: Sender, receiver: ScriptedReceiver, host: str = NAME) -> Answer:
    return await sender.send(f"https://{host}:{receiver.port}/", {"webhook-id": "msg_1"}, b"{}", private=True)


async def test_a_receiver_with_a_good_certificate_is_sent_to_by_its_name(authority: Authority) -> None:
    context = authority.server(NAME)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with ScriptedReceiver(tls=context) as receiver, sending(authority.file) as sender:
        for _ in range(3):
            assert (await post(sender, receiver)).status == 200
    assert (receiver.connections, len(receiver.requests)) == (1, 3)
    assert asked == [NAME]
    assert f"host: {NAME}:{receiver.port}\r\n".encode() in receiver.requests[0][0]


async def test_a_certificate_may_name_an_address_or_a_wildcard(authority: Authority) -> None:
    context = authority.server("127.0.0.1", "*.district.example")
    async with ScriptedReceiver(tls=context) as receiver, sending(authority.file) as sender:
        assert (await post(sender, receiver, "127.0.0.1")).status == 200
        assert (await post(sender, receiver, "a.district.example")).status == 200
        assert (await post(sender, receiver, "a.b.district.example")).status is None
        assert (await post(sender, receiver, "district.example")).status is None


async def refused(context: ssl.SSLContext, authorities: str | None, host: str = NAME) -> str:
    """The error of sending to a receiver that is not to get anything, and has not."""
    async with ScriptedReceiver(tls=context) as receiver, sending(authorities) as sender:
        answer = await post(sender, receiver, host)
    assert (answer.status, answer.refused_address) == (None, False)
    assert receiver.requests == []
    assert answer.error.startswith("TLS: ")
    return answer.error


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    assert "mismatch" in await refused(authority.server("other.example"), authority.file)


async def test_a_certificate_without_the_address_is_refused(authority: Authority) -> None:
    assert "mismatch" in await refused(authority.server(NAME), authority.file, "127.0.0.1")


async def test_a_name_in_the_old_place_of_a_certificate_does_not_count(authority: Authority) -> None:
    await refused(authority.server(common_name=NAME), authority.file)


async def test_a_self_signed_certificate_is_refused(authority: Authority) -> None:
    assert "self-signed" in await refused(authority.server(NAME, self_signed=True), authority.file)


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    other = Authority.made(tmp_path / "other", "Somebody's authority")
    await refused(other.server(NAME), authority.file)
    await refused(authority.server(NAME), None)  # and that of a district, until a setting names it


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    context = authority.server(NAME, since=-2 * DAY, until=-DAY)
    assert "expired" in await refused(context, authority.file)


async def test_a_certificate_of_tomorrow_is_refused(authority: Authority) -> None:
    context = authority.server(NAME, since=DAY / 2)
    assert "not yet valid" in await refused(context, authority.file)


async def test_a_certificate_for_clients_is_refused(authority: Authority) -> None:
    await refused(authority.server(NAME, usage=ExtendedKeyUsageOID.CLIENT_AUTH), authority.file)


def _with_old_protocols(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
        context.minimum_version = version
        context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_a_receiver_with_an_old_protocol_is_refused(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    server = _with_old_protocols(authority.server(NAME), version)
    lenient = _with_old_protocols(ssl.create_default_context(cafile=authority.file), version)
    async with ScriptedReceiver(tls=server) as receiver, sending(authority.file) as sender:
        answer = await post(sender, receiver)
        assert answer.status is None
        assert answer.error in {
            "no connection",
            "TLS: unsupported protocol",
            "TLS: tlsv1 alert protocol version",
        }
        # Others can connect, so it was we who did not want to.
        _, writer = await asyncio.open_connection(
            "127.0.0.1", receiver.port, ssl=lenient, server_hostname=NAME
        )
        writer.transport.abort()
    assert receiver.requests == []


async def test_a_receiver_without_encryption_gets_nothing_over_https(authority: Authority) -> None:
    async with ScriptedReceiver() as receiver, sending(authority.file, Limits(connect_seconds=1.0)) as sender:
        answer = await post(sender, receiver)
    assert answer.status is None
    assert receiver.requests == []


async def test_a_receiver_that_never_finishes_the_handshake_is_left(authority: Authority) -> None:
    connected, left = asyncio.Event(), asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        try:
            while await reader.read(1024):
                pass
        except OSError:
            pass
        left.set()
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, sending(authority.file, Limits(connect_seconds=1.0)) as sender:
        answer = await sender.send(f"https://{NAME}:{port}/", {}, b"{}", private=True)
        async with asyncio.timeout(60):
            await left.wait()
    assert (answer.status, answer.error) == (None, "no connection in time")
    assert connected.is_set()


async def test_a_connection_that_proved_one_name_is_not_used_for_another(authority: Authority) -> None:
    async with (
        ScriptedReceiver(tls=authority.server(NAME)) as receiver,
        sending(authority.file) as sender,
    ):
        assert (await post(sender, receiver)).status == 200
        assert (await post(sender, receiver, "other.example")).status is None
    assert len(receiver.requests) == 1


async def test_no_keys_of_connections_are_written_down(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    async with (
        ScriptedReceiver(tls=authority.server(NAME)) as receiver,
        sending(authority.file) as sender,
    ):
        assert (await post(sender, receiver)).status == 200
    assert not keys.exists()


async def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for content in (None, b"", b"no certificate"):
        file = tmp_path / "authorities.pem"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"authorities\.pem"):
            tls_context(str(file))
