"""The bytes of an audit entry. Whoever checks a chain in ten years computes over exactly these."""

from __future__ import annotations

import hashlib

from schemas.audit import NO_HASH, AuditEvent, AuditKind, Head, entry_bytes, read_entry

CHAIN = "20260504T120000Z-Xk2aZ0QfLm1p"
EARLIER = Head("20260503T120000Z-p0AeZ0QfLm1p", 7, "ab" * 32)
STARTED_BODY = (
    b'{"chain":"20260504T120000Z-Xk2aZ0QfLm1p","number":1,"at_ms":1777896000000,"event":{"kind":"chain_started",'
    b'"heads":[{"chain":"20260503T120000Z-p0AeZ0QfLm1p","number":7,"hash":"' + b"ab" * 32 + b'"}]}}'
)
OPENED_BODY = (
    b'{"chain":"20260504T120000Z-Xk2aZ0QfLm1p","number":2,"at_ms":1777896000123,"event":{"kind":"stream_opened",'
    b'"subject":"m.alvarez@district.test","token_id":"0b51","issuer":"https://issuer.test/","address":"192.0.2.7",'
    b'"stream":"Xk2aZ0QfLm1p.p0Ae","organizations":["district/71700010000000/schools"],'
    b'"classes":["exact-reviewing"],"tests":["ELA-SUM"],"years":[2026],"report":"aggregate"}}'
)


def with_hash(body: bytes, digest: str) -> bytes:
    return body[:-1] + b',"hash":"' + digest.encode() + b'"}'


def test_an_entry_is_these_bytes_and_its_hash_is_over_them_and_the_hash_before() -> None:
    first = hashlib.sha256(bytes(32) + STARTED_BODY).hexdigest()
    second = hashlib.sha256(bytes.fromhex(first) + OPENED_BODY).hexdigest()
    started = AuditEvent(kind=AuditKind.CHAIN_STARTED, heads=(EARLIER,))
    opened = AuditEvent(
        kind=AuditKind.STREAM_OPENED,
        subject="m.alvarez@district.test",
        token_id="0b51",
        issuer="https://issuer.test/",
        address="192.0.2.7",
        stream="Xk2aZ0QfLm1p.p0Ae",
        organizations=("district/71700010000000/schools",),
        classes=("exact-reviewing",),
        tests=("ELA-SUM",),
        years=(2026,),
        report="aggregate",
    )
    assert entry_bytes(CHAIN, 1, 1777896000000, started, NO_HASH) == (with_hash(STARTED_BODY, first), first)
    assert entry_bytes(CHAIN, 2, 1777896000123, opened, first) == (with_hash(OPENED_BODY, second), second)


def test_an_entry_of_a_later_version_can_be_read_and_still_checked() -> None:
    body = STARTED_BODY.replace(b'"event":{', b'"event":{"reviewed_by":"nobody yet",')
    line = with_hash(body, hashlib.sha256(bytes(32) + body).hexdigest())
    assert read_entry(line).event.heads == (EARLIER,)
