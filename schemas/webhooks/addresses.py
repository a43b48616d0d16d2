"""Where a webhook may be sent: pure judgements of a URL and of an IP address.

Whoever makes an endpoint chooses a URL, and this service then connects to it from inside a network whose other services trust
their neighbours. So nothing is taken that different readers of URLs or of addresses could read differently, and an address is
allowed because it is known to be public, not because nothing is known against it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from schemas.errors import InvalidInput

LONGEST_URL: Final = 2_048
PUBLIC_PORTS: Final = (443, 8443)

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
# What RFC 3986 lets stand in a URL. No reader of URLs then has anything to strip, to fold or to decode before it finds the
# host: not a tab, a backslash, a full-width dot or a letter that only looks like another.
_URL: Final = re.compile(r"(https?)://([^/?#]+)([/?][A-Za-z0-9\-._~:/?@!$&'()*+,;=%\[\]]*)?", re.IGNORECASE)
_CHARACTERS: Final = re.compile(r"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%\[\]]*")
_NAMED: Final = re.compile(r"([^:\[\]]*)(?::([1-9][0-9]{0,4}))?")
_BRACKETED: Final = re.compile(r"\[([0-9a-f:.]+)\](?::([1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# A last label like this makes readers take the whole for a number: 2130706433, 0x7f.1, 0177.0.0.1.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that mean something near, or nothing in the public DNS (RFC 6761, 6762, 7686, 8375; ICANN's "internal").
_NEAR_NAMES: Final = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "home.arpa",
    "onion",
    "invalid",
)

_V4 = ipaddress.IPv4Network
_V6 = ipaddress.IPv6Network

# IANA's special-purpose registry without exception, and what answers questions about a machine at an address that looks public.
_NOT_PUBLIC_V4: Final = tuple(
    (_V4(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's inner network"),
        ("127.0.0.0/8", "this host"),
        ("168.63.129.16/32", "a cloud's metadata"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "a protocol's own"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "a protocol's own"),
        ("192.52.193.0/24", "a protocol's own"),
        ("192.88.99.0/24", "a relay to IPv6"),
        ("192.168.0.0/16", "a private network"),
        ("192.175.48.0/24", "a protocol's own"),
        ("198.18.0.0/15", "for measurements"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
# Only 2000::/3 is public at all. That leaves out loopback, unique local, link-local, site-local, multicast, IPv4 in IPv6's
# clothes (::a.b.c.d, ::ffff:a.b.c.d, 64:ff9b::a.b.c.d, 64:ff9b:1::/48) and segment routing (5f00::/16) without naming them.
_PUBLIC_V6: Final = _V6("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    (_V6(network), why)
    for network, why in (
        ("2001::/23", "a protocol's own"),  # Teredo, ORCHID, measurements: 2001:0000 to 2001:01ff
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "IPv4 in another form"),  # 6to4
        ("2620:4f:8000::/48", "a protocol's own"),
        ("3fff::/20", "for documentation"),
    )
)
# What an endpoint in a private network may have besides. A metadata service is none, whatever network it hides in.
_PRIVATE_V4: Final = tuple(
    map(_V4, ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
)
_PRIVATE_V6: Final = tuple(map(_V6, ("::1/128", "fc00::/7")))
_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "fd00:ec2::253", "fd20:ce::254"))
)
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # the third quarter of an address whose last one is IPv4


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was judged, in the parts that a connection needs.

    Attributes:
        host: a name in lower case, or an IP address in its one canonical form, without brackets.
        path: with the query, as it was given.
        literal: the host is an address, and there is nothing to look up.
    """

    scheme: str
    host: str
    port: int
    path: str
    literal: bool

    @property
    def host_header(self) -> str:
        """What the request's Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without path and query, where secrets may be: fit for a log."""
        return f"{self.scheme}://{self.host_header}"


@lru_cache(maxsize=8_192)
def check_url(url: str, private: bool) -> Target:
    """The parts of a URL that webhooks may be sent to, as far as the URL alone can say that.

    ``private`` when the deployment allows endpoints in private networks and this endpoint is one: then also http, any
    port, single-label names and private addresses. Whoever connects judges the addresses behind a name with ``refusal``.

    Raises:
        InvalidInput: the fault and its remedy, without the URL itself.
    """
    if len(url) > LONGEST_URL:
        raise InvalidInput(f"the URL has {len(url)} characters; expected at most {LONGEST_URL}")
    if not _CHARACTERS.fullmatch(url):
        raise InvalidInput(
            "the URL has characters that may not stand in one; write a name's xn-- form, and %-escapes elsewhere"
        )
    if "#" in url:
        raise InvalidInput("the URL has a fragment (#), which is never sent; leave it off")
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidInput("the URL has not the form https://host/path")
    scheme, authority, path = match[1].lower(), match[2].lower(), match[3] or "/"
    if "@" in authority:
        raise InvalidInput("the URL has a user name or password; leave it off, messages are signed")
    host, port, literal = _host_and_port(authority, _DEFAULT_PORTS[scheme])
    if not private:
        if scheme != "https":
            raise InvalidInput("the URL begins with http:; expected https:")
        if port not in PUBLIC_PORTS:
            raise InvalidInput(f"the URL's port is {port}; expected 443 or 8443")
    if literal:
        if (why := refusal(host, private)) is not None:
            raise InvalidInput(f"the URL's address is {why}; expected a public one")
    else:
        _check_name(host, private)
    return Target(scheme, host, port, path if path[0] == "/" else f"/{path}", literal)


@lru_cache(maxsize=8_192)
def refusal(address: str, private: bool) -> str | None:
    """Why nothing may be sent to an IP address; None when it may.

    ``private`` as for ``check_url``. Link-local, multicast and metadata addresses, and IPv4 addresses in any IPv6
    form, are refused in any case.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if parsed in _METADATA:
        return "a cloud's metadata"
    return _refusal_v4(parsed, private) if parsed.version == 4 else _refusal_v6(parsed, private)


def _refusal_v4(address: ipaddress.IPv4Address, private: bool) -> str | None:
    if private and any(address in network for network in _PRIVATE_V4):
        return None
    return next((why for network, why in _NOT_PUBLIC_V4 if address in network), None)


def _refusal_v6(address: ipaddress.IPv6Address, private: bool) -> str | None:
    if address.scope_id is not None:
        return "of one link only"
    if private and any(address in network for network in _PRIVATE_V6):
        return None
    if address not in _PUBLIC_V6:
        return "not public"
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
        return "IPv4 in another form"
    return next((why for network, why in _NOT_PUBLIC_V6 if address in network), None)


def _host_and_port(authority: str, default_port: int) -> tuple[str, int, bool]:
    """An authority's host in its canonical form, its port, and whether the host is an address."""
    bracketed = _BRACKETED.fullmatch(authority)
    match = bracketed or _NAMED.fullmatch(authority)
    if match is None:
        raise InvalidInput("the URL's host and port have not the form host:port; an IPv6 zone is none")
    port = int(match[2] or default_port)
    if port > 65_535:
        raise InvalidInput(f"the URL's port is {port}; expected at most 65535")
    if bracketed is not None:
        return _canonical(match[1], ipaddress.IPv6Address), port, True
    if _NUMBER.fullmatch(match[1].rpartition(".")[2]):
        return _canonical(match[1], ipaddress.IPv4Address), port, True
    return match[1], port, False


def _canonical(text: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> str:
    try:
        return str(kind(text))  # refuses 127.1, 0177.0.0.1 and 0x7f.0.0.1, which other readers take
    except ValueError:
        raise InvalidInput(
            "the URL's host is a number that is no address; expected a name, or four decimal numbers"
        ) from None


def _check_name(name: str, private: bool) -> None:
    labels = name.split(".")
    if labels[-1] == "":
        raise InvalidInput("the URL's host is empty or ends with a dot; expected a name without one")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidInput(
            "the URL's host is not a name of the DNS; expected letters, digits, hyphens and dots"
        )
    if private:
        return
    if len(labels) == 1 or any(name == near or name.endswith(f".{near}") for near in _NEAR_NAMES):
        raise InvalidInput("the URL's host is a name of a private network; expected one of the public DNS")
