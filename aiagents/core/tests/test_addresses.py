"""Which addresses may be reached: the IANA registries whole, and IPv4 addresses inside IPv6 ones by every mechanism."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiagents.core.outbound import addresses, destinations
from aiagents.core.outbound.destinations import BlockedUrl
from tests.kit.sampling import examples

# https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry as of 2026-09-17, entry by entry.
IPV4 = [
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32", "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24",
    "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "255.255.255.255/32", "224.0.0.0/4",
]  # fmt: skip
IPV6 = [
    "::1/128", "::/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23",
    "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28",
    "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7",
    "fe80::/10", "fec0::/10", "ff00::/8", "::/96", "::ffff:0:0:0/96",
]  # fmt: skip
METADATA = ipaddress.IPv4Address("169.254.169.254")
PUBLIC_PREFIXES = ("2a00:1450:4001::", "2606:4700::", "2400:cb00:1:2::")


def _address(net: str) -> st.SearchStrategy[str]:
    network = ipaddress.ip_network(net)
    first, last = int(network.network_address), int(network.broadcast_address)
    make = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    return st.integers(first, last).map(lambda number: str(make(number)))


@given(st.sampled_from([*IPV4, *IPV6]).flatmap(_address))
def test_no_address_of_a_special_purpose_range_is_public(address: str):
    assert not addresses.is_public(address)
    assert not addresses.may_reach(address, allow_private=False)


@pytest.mark.parametrize("net", [*IPV4, *IPV6])
def test_the_edges_of_every_range_are_refused(net: str):
    network = ipaddress.ip_network(net)
    for address in (network.network_address, network.broadcast_address):
        assert not addresses.is_public(str(address)), address


@given(st.integers(0, 2**128 - 1))
def test_outside_of_global_unicast_no_ipv6_address_is_public(number: int):
    address = ipaddress.IPv6Address(number)
    assert address in ipaddress.IPv6Network("2000::/3") or not addresses.is_public(str(address))


def _of_the_library(version: int) -> list[str]:
    """The networks that Python's ipaddress takes from the same registries. A newer Python may know more of them."""
    constants = ipaddress._IPv4Constants if version == 4 else ipaddress._IPv6Constants  # type: ignore[attr-defined]  # no public name
    found: list[str] = []
    for name, value in vars(constants).items():
        if name.endswith(("_network", "_networks")):  # not the exceptions from them
            found += map(str, value if isinstance(value, list | tuple) else [value])
    return sorted(set(found))


OF_THE_LIBRARY = [*_of_the_library(4), *_of_the_library(6)]


def test_the_librarys_networks_are_found():
    assert {"10.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "fe80::/10", "2001:db8::/32", "ff00::/8"} <= set(OF_THE_LIBRARY)


def _near_edges(net: str) -> st.SearchStrategy[str]:
    """Addresses beside the first and the last one of a network, where a list that was written wrong is wrong."""
    network = ipaddress.ip_network(net)
    make, end = (ipaddress.IPv4Address, 2**32) if network.version == 4 else (ipaddress.IPv6Address, 2**128)
    near = [int(edge) + step for edge in (network[0], network[-1]) for step in (-2, -1, 0, 1, 2)]
    return st.sampled_from([number for number in near if 0 <= number < end]).map(lambda number: str(make(number)))


@given(
    st.one_of(
        st.sampled_from(OF_THE_LIBRARY).flatmap(_address),
        st.integers(0, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number))),
        st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(lambda number: str(ipaddress.IPv6Address(number))),
        st.sampled_from([*IPV4, *IPV6, *OF_THE_LIBRARY]).flatmap(_near_edges),
    )
)
@pytest.mark.soak
@settings(max_examples=examples(300, 10000))
def test_what_python_calls_not_globally_reachable_is_refused(address: str):
    ip = ipaddress.ip_address(address)
    if not ip.is_global or ip.is_private or ip.is_reserved or ip.is_multicast or ip.is_link_local or ip.is_loopback or ip.is_unspecified:
        assert not addresses.is_public(address), address


def rfc6052(prefix: int, length: int, inner: int) -> ipaddress.IPv6Address:
    """The address that a translator with a prefix of so many bits makes of an IPv4 address (RFC 6052, 2.2)."""
    bits = [*f"{prefix:0128b}"][:length]
    for bit in f"{inner:032b}":
        if len(bits) == 64:
            bits += "00000000"
        bits.append(bit)
    return ipaddress.IPv6Address(int("".join(bits).ljust(128, "0"), 2))


def embedded(inner: int) -> dict[str, ipaddress.IPv6Address]:
    """One IPv4 address in every form that a host or a router would unpack."""
    v6 = ipaddress.IPv6Address
    local = int(v6("64:ff9b:1::"))
    found = {
        "compatible": v6(inner),
        "mapped": v6(int(v6("::ffff:0:0")) | inner),
        "translated": v6(int(v6("::ffff:0:0:0")) | inner),
        "nat64": v6(int(v6("64:ff9b::")) | inner),
        "6to4": v6(int(v6("2002::")) | inner << 80 | 1),
        "teredo client": v6(int(v6("2001:0:4136:e378::")) | (inner ^ 0xFFFFFFFF)),
        "teredo server": v6(int(v6("2001::")) | inner << 64 | 1),
    }
    for length in (48, 56, 64, 96):
        found[f"local nat64 /{length}"] = rfc6052(local, length, inner)
    for prefix in (*PUBLIC_PREFIXES, "fd00:1:2:3::", "fe80::"):
        for identifier in (0x00005EFE, 0x02005EFE):
            found[f"isatap {prefix} {identifier:08x}"] = v6(int(v6(prefix)) | identifier << 32 | inner)
    return found


@given(st.integers(0, 2**32 - 1))
def test_no_form_of_an_embedded_address_is_public(inner: int):
    for name, address in embedded(inner).items():
        assert not addresses.is_public(str(address)), f"{name} of {ipaddress.IPv4Address(inner)}: {address}"


def test_metadata_services_are_refused_in_every_form_even_where_private_addresses_are_allowed():
    for name, address in embedded(int(METADATA)).items():
        assert not addresses.may_reach(str(address), allow_private=True), f"{name}: {address}"


def test_a_private_address_behind_a_translator_is_reached_where_staff_allowed_it():
    for name, address in embedded(int(ipaddress.IPv4Address("10.1.2.3"))).items():
        if not name.startswith(("teredo", "isatap fe80")):  # the other end of Teredo is a foreign address
            assert addresses.may_reach(str(address), allow_private=True), f"{name}: {address}"


@given(
    st.integers(0x01000000, 0xDFFFFFFF)
    .map(ipaddress.IPv4Address)
    .filter(lambda one: not any(one in ipaddress.ip_network(net) for net in IPV4))
)
def test_other_ipv4_addresses_are_public(address: ipaddress.IPv4Address):
    assert addresses.is_public(str(address))


def spellings(address: ipaddress.IPv4Address) -> list[str]:
    a, b, c, d = address.packed
    number = int(address)
    return [
        str(address), f"{a}.{b}.{c * 256 + d}", f"{a}.{number & 0xFFFFFF}", str(number), hex(number), f"0{number:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a:#X}.{b}.0{c:o}.{d}", f"{address}.",
        f"[::ffff:{address}]", f"[0:0:0:0:0:ffff:{number >> 16:x}:{number & 0xFFFF:x}]",
    ]  # fmt: skip


@given(st.sampled_from([net for net in IPV4 if net != "0.0.0.0/32"]).flatmap(_address).map(ipaddress.IPv4Address))
def test_no_spelling_of_a_refused_address_passes_the_check_that_asks_no_resolver(address: ipaddress.IPv4Address):
    for text in spellings(address):
        assert destinations.literal(text) is not None, text
        with pytest.raises(BlockedUrl):
            destinations.check_spelling(f"https://{text}/")


def test_a_name_is_no_address():
    for name in ("example.com", "1.example.com", "0x7f.example", "a", "127.0.0.1.example.com", "xn--bcher-kva.example", "1.2.3.4.5"):
        assert destinations.literal(name) is None, name


def test_the_judgement_of_spellings_agrees_with_the_resolver():
    for text in ("127.1", "0x7f.1", "2130706433", "017700000001"):
        found = socket.getaddrinfo(text, 80, type=socket.SOCK_STREAM)[0][4][0]
        assert destinations.literal(text) == found
