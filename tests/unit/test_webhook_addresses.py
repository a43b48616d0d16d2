"""Where webhooks may be sent, by the URL and by the address alone."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.webhooks.addresses import check_url, refusal

PUBLIC = "8.8.8.8"

FORMS_OF_LOOPBACK = {
    "decimal": "2130706433",
    "hexadecimal": "0x7f000001",
    "hexadecimal_parts": "0x7f.0x0.0x0.0x1",
    "octal": "017700000001",
    "octal_parts": "0177.0.0.01",
    "short": "127.1",
    "three_parts": "127.0.1",
    "mixed": "127.0x0.0.1",
    "overflowing": "127.0.0.257",
    "one_zero": "0",
    "hexadecimal_nothing": "0x",
    "leading_zeros": "127.000.000.001",
    "dotted": "127.0.0.1",
    "dotted_and_dot": "127.0.0.1.",
    "escaped": "127%2e0.0.1",
    "escaped_digits": "%31%32%37.0.0.1",
    "full_width": "\uff11\uff12\uff17.0.0.1",
    "full_width_dots": "127\uff0e0\uff0e0\uff0e1",
    "ideographic_dots": "127\u30020\u30020\u30021",
    "circled": "\u2460\u2461\u2466.0.0.1",
    "arabic_digits": "\u0661\u0662\u0667.0.0.1",
    "bracketed": "[127.0.0.1]",
    "loopback_v6": "[::1]",
    "loopback_v6_long": "[0:0:0:0:0:0:0:1]",
    "unspecified_v6": "[::]",
    "mapped": "[::ffff:127.0.0.1]",
    "mapped_hexadecimal": "[::ffff:7f00:1]",
    "compatible": "[::127.0.0.1]",
    "translated": "[::ffff:0:127.0.0.1]",
    "nat64": "[64:ff9b::127.0.0.1]",
    "nat64_local": "[64:ff9b:1::7f00:1]",
    "six_to_four": "[2002:7f00:1::]",
    "teredo": "[2001:0:7f00:1::80ff:fffe]",
    "isatap": "[2a00::5efe:127.0.0.1]",
    "zone": "[fe80::1%eth0]",
    "zone_escaped": "[fe80::1%25eth0]",
    "zone_of_a_public_one": "[2a00:1450::1%251]",
    "unclosed": "[::1",
    "after_the_bracket": "[::1]x",
    "name": "localhost",
    "name_below": "app.localhost",
    "name_shouted": "LOCALHOST",
}


@pytest.mark.parametrize("host", FORMS_OF_LOOPBACK.values(), ids=FORMS_OF_LOOPBACK.keys())
def test_no_form_of_this_machines_own_address_can_be_an_endpoint(host: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(f"https://{host}/results", False)


@pytest.mark.parametrize("host", FORMS_OF_LOOPBACK.values(), ids=FORMS_OF_LOOPBACK.keys())
def test_private_endpoints_take_a_loopback_address_in_its_plain_form_only(host: str) -> None:
    plain = {"127.0.0.1", "[::1]", "[0:0:0:0:0:0:0:1]", "localhost", "app.localhost", "LOCALHOST"}
    if host in plain:
        assert check_url(f"http://{host}:8080/", True).port == 8080
    else:
        with pytest.raises(InvalidInput):
            check_url(f"http://{host}:8080/", True)


TRICKS = {
    "user": "https://hooks.example@10.0.0.1/",
    "user_and_password": "https://district:secret@hooks.example/",
    "empty_user": "https://@hooks.example/",
    "two_ats": "https://a@b@hooks.example/",
    "backslash": "https://hooks.example\\@10.0.0.1/",
    "backslash_for_slashes": "https:\\\\hooks.example/",
    "fragment": "https://hooks.example/#@10.0.0.1/",
    "fragment_in_the_host": "https://10.0.0.1#.hooks.example/",
    "tab": "https://hooks\t.example/",
    "line_break": "https://hooks.example/\r\nX-Admin: yes",
    "line_break_at_the_end": "https://hooks.example/\n",
    "space": "https://hooks.example/a b",
    "space_before": " https://hooks.example/",
    "nul": "https://hooks.example\x00.evil.example/",
    "soft_hyphen": "https://ho\u00adoks.example/",
    "letters_that_look_alike": "https://h\u043e\u043eks.example/",
    "international": "https://b\u00fccher.example/",
    "sharp_s": "https://stra\u00dfe.example/",
    "long_s": "https://hook\u017f.example/",
    "escaped_name": "https://hooks%2eexample/",
    "no_host": "https:///results",
    "only_a_port": "https://:443/",
    "empty_port": "https://hooks.example:/",
    "port_with_zeros": "https://hooks.example:0443/",
    "port_too_high": "https://hooks.example:65979/",  # 443 modulo 65536
    "port_signed": "https://hooks.example:+443/",
    "port_of_other_digits": "https://hooks.example:\u0664\u0664\u0663/",
    "two_ports": "https://hooks.example:443:22/",
    "trailing_dot": "https://hooks.example./",
    "two_dots": "https://hooks..example/",
    "leading_dot": "https://.hooks.example/",
    "hyphen_at_the_end": "https://hooks-.example/",
    "long_label": f"https://{'a' * 64}.example/",
    "long_name": f"https://{'a.' * 130}example/",
    "long_url": f"https://hooks.example/{'a' * 2048}",
    "another_scheme": "ftp://hooks.example/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://hooks.example:443/_x",
    "no_scheme": "//hooks.example/",
    "one_slash": "https:/hooks.example/",
    "nothing": "",
}


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("url", TRICKS.values(), ids=TRICKS.keys())
def test_a_url_that_readers_could_read_differently_is_refused(url: str, private: bool) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_url(url, private)
    assert url == "" or url not in str(
        refused.value
    )  # the path may be a secret, and the rest may break a log's line


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://district:secret@hooks.example/", "a user name or password; leave it off"),
        ("https://hooks.example/#a", "a fragment (#), which is never sent; leave it off"),
        ("https://hooks.example./", "ends with a dot; expected a name without one"),
        ("https://b\u00fccher.example/", "write a name's xn-- form"),
        ("http://hooks.example/", "expected https:"),
        ("https://hooks.example:9000/", "expected 443 or 8443"),
        ("https://2130706433/", "expected a name, or four decimal numbers"),
        ("https://10.0.0.1/", "is a private network; expected a public one"),
        ("https://receiver/", "expected one of the public DNS"),
    ],
)
def test_a_refusal_says_what_to_do(url: str, remedy: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(remedy)):
        check_url(url, False)


ONLY_PRIVATE = {
    "http": "http://hooks.example/",
    "another_port": "https://hooks.example:9000/",
    "http_port": "https://hooks.example:80/",
    "one_label": "https://receiver/",
    "local": "https://printer.local/",
    "internal": "https://metadata.google.internal/",
    "home": "https://router.home.arpa/",
    "private": "https://10.1.2.3/",
    "private_v6": "https://[fd12::1]/",
}


@pytest.mark.parametrize("url", ONLY_PRIVATE.values(), ids=ONLY_PRIVATE.keys())
def test_what_belongs_to_private_networks_needs_the_opt_in(url: str) -> None:
    assert check_url(url, True)
    with pytest.raises(InvalidInput):
        check_url(url, False)


def test_a_districts_url_is_taken_apart_as_it_was_meant() -> None:
    target = check_url("HTTPS://Hooks.District.example:8443/a/b?key=%2F&x=[1]", False)

    assert (target.scheme, target.host, target.port) == ("https", "hooks.district.example", 8443)
    assert (target.path, target.literal) == ("/a/b?key=%2F&x=[1]", False)
    assert target.host_header == "hooks.district.example:8443"
    assert target.origin == "https://hooks.district.example:8443"


@pytest.mark.parametrize(
    ("url", "header", "path"),
    [
        ("https://hooks.example", "hooks.example", "/"),
        ("https://hooks.example:443?a=1", "hooks.example", "/?a=1"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", "/"),
        ("https://8.8.8.8/", "8.8.8.8", "/"),
        ("https://[2A00:1450:0::1]:8443/", "[2a00:1450::1]:8443", "/"),
    ],
)
def test_the_host_header_is_the_canonical_form_and_names_no_usual_port(
    url: str, header: str, path: str
) -> None:
    target = check_url(url, False)

    assert (target.host_header, target.path) == (header, path)


REFUSED = {
    "this_network": "0.0.0.0",
    "this_network_end": "0.255.255.255",
    "private_10": "10.255.0.1",
    "carrier": "100.64.0.1",
    "metadata_of_alibaba": "100.100.100.200",
    "loopback_end": "127.255.255.255",
    "metadata_of_azure": "168.63.129.16",
    "metadata": "169.254.169.254",
    "metadata_of_ecs": "169.254.170.2",
    "private_172": "172.31.255.255",
    "metadata_of_oracle": "192.0.0.192",
    "documentation_1": "192.0.2.1",
    "as112": "192.31.196.1",
    "amt": "192.52.193.1",
    "six_to_four_relay": "192.88.99.1",
    "private_192": "192.168.0.1",
    "as112_direct": "192.175.48.1",
    "measurements": "198.19.255.255",
    "documentation_2": "198.51.100.1",
    "documentation_3": "203.0.113.1",
    "multicast": "224.0.0.1",
    "multicast_end": "239.255.255.255",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unspecified_v6": "::",
    "loopback_v6": "::1",
    "discard": "100::1",
    "nat64": "64:ff9b::808:808",
    "nat64_local": "64:ff9b:1::1",
    "mapped_public": "::ffff:8.8.8.8",
    "teredo": "2001::1",
    "port_control": "2001:1::1",
    "measurements_v6": "2001:2::1",
    "amt_v6": "2001:3::1",
    "as112_v6": "2001:4:112::1",
    "orchid": "2001:10::1",
    "orchid_2": "2001:20::1",
    "drip": "2001:30::1",
    "documentation_v6": "2001:db8::1",
    "six_to_four": "2002:808:808::1",
    "as112_direct_v6": "2620:4f:8000::1",
    "documentation_v6_2": "3fff:fff::1",
    "unassigned": "4000::1",
    "segment_routing": "5f00::1",
    "unique_local": "fc00::1",
    "metadata_of_aws_v6": "fd00:ec2::254",
    "metadata_of_gcp_v6": "fd20:ce::254",
    "link_local": "fe80::1",
    "link_local_zone": "fe80::1%eth0",
    "zone_on_a_public_one": "2a00::1%eth0",
    "site_local": "fec0::1",
    "multicast_v6": "ff02::1",
    "multicast_global_v6": "ff0e::1",
    "isatap": "2a00::5efe:a00:1",
    "isatap_universal": "2a00::200:5efe:a00:1",
    "no_address": "hooks.example",
    "nothing": "",
}


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED.keys())
def test_an_address_that_is_not_a_public_hosts_is_refused(address: str) -> None:
    assert refusal(address, False)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "198.20.0.1",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860::8888",
        "2003::1",
        "2a00:1450::1",
        "3ffe::1",
    ],
)
def test_a_neighbour_of_a_special_network_is_public(address: str) -> None:
    assert refusal(address, False) is None


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.0.0.1", True),
        ("127.0.0.1", True),
        ("172.16.0.1", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("::1", True),
        ("fd12:3456::1", True),
        (PUBLIC, True),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("fd20:ce::254", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("fd12::1%eth0", False),
    ],
)
def test_the_opt_in_opens_private_networks_and_neither_links_nor_metadata(
    address: str, allowed: bool
) -> None:
    assert (refusal(address, True) is None) is allowed


@given(st.ip_addresses(v=4), st.booleans())
def test_an_ipv4_address_in_clothes_of_ipv6_is_refused_whatever_it_is(
    address: ipaddress.IPv4Address, private: bool
) -> None:
    number = int(address)
    inverted = number ^ 0xFFFF_FFFF
    dressed = [
        number,  # ::a.b.c.d
        0xFFFF << 32 | number,  # ::ffff:a.b.c.d
        0xFFFF << 48 | number,  # ::ffff:0:a.b.c.d
        0x64FF9B << 96 | number,  # 64:ff9b::a.b.c.d
        0x64FF9B0001 << 80 | number,  # 64:ff9b:1::a.b.c.d
        0x2002 << 112 | number << 80 | 1,  # 2002:aabb:ccdd::1
        0x20010000 << 96 | number << 64 | 1,  # Teredo, by the address of its server
        0x20010000 << 96 | inverted,  # and by that of its client
        0xFE80 << 112 | 0x5EFE << 32 | number,  # ISATAP
    ]
    for form in dressed:
        text = str(ipaddress.IPv6Address(form))
        if private and text == "::1":
            continue  # loopback itself
        assert refusal(text, private), text


@given(st.ip_addresses())
def test_no_address_is_allowed_that_the_standard_library_knows_not_to_be_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if refusal(str(address), False) is None:
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_unspecified)


_PIECES = st.sampled_from(
    [
        "https://", "http://", "HTTPS:", "//", "/", "\\", "@", ":", "443", "8443", "22", "#", "?", "%", "%2e", "%00", "[", "]",
        "::1", "::ffff:", "127.0.0.1", "0x7f", "1", "2130706433", ".", "..", "hooks", "example", "localhost", "-", "_", "\t",
        "\r\n", " ", "\u3002", "\uff0e", "\u00df", "xn--", "a", "&", "=", "+", ";", "*", "'",
    ]
)  # fmt: skip


@given(st.lists(_PIECES, min_size=1, max_size=12).map("".join), st.booleans())
@example("https://hooks.example:443/a?b", False)
@example("https://[::1]/", True)
@example("http://a_b:8080?x", True)
@example("https://xn--443.example/", False)
def test_every_url_that_is_taken_means_the_same_to_other_readers(rest: str, private: bool) -> None:
    url = rest if re.match("https?://", rest, re.IGNORECASE) else f"https://{rest}"
    try:
        target = check_url(url, private)
    except InvalidInput:
        return
    library = urlsplit(url)
    client = httpx.URL(url)
    for scheme, host, port in (
        (library.scheme, library.hostname or "", library.port),
        (client.scheme, client.raw_host.decode().strip("[]"), client.port),
    ):
        assert (scheme, port or {"http": 80, "https": 443}[scheme]) == (target.scheme, target.port)
        assert (str(ipaddress.ip_address(host)) if target.literal else host) == target.host
