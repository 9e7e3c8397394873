"""Whose request it is, whatever a client writes into X-Forwarded-For."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.client_address import client_address, limiting_key, parse_address, trusted_networks
from config.errors import ConfigError

PROXIES = trusted_networks(["10.0.0.0/8", "fd00::/8"])
trusted = st.one_of(st.ip_addresses(v=4, network="10.0.0.0/8"), st.ip_addresses(v=6, network="fd00::/8")).map(str)
strangers = st.one_of(st.ip_addresses(v=4, network="192.0.2.0/24"), st.ip_addresses(v=6, network="2001:db8::/32")).map(
    str
)
no_commas = st.text(st.characters(codec="latin-1", exclude_characters=","))
written = no_commas.filter(lambda text: parse_address(text) is None)


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", ['"[2001:db8::1]"'], "2001:db8::1"),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_client_is_the_nearest_hop_that_is_not_ours(peer: str, header: list[str], expected: str) -> None:
    assert client_address(peer, header, PROXIES) == expected


@pytest.mark.slow
@given(client=strangers, lies=st.lists(st.text(st.characters(codec="latin-1"))), ours=st.lists(trusted))
def test_what_a_client_writes_to_the_left_changes_nothing(client: str, lies: list[str], ours: list[str]) -> None:
    header = [*lies, client, *ours]

    assert client_address("10.0.0.1", header, PROXIES) == client


@given(peer=strangers, header=st.lists(st.text(st.characters(codec="latin-1"))))
def test_a_stranger_cannot_speak_for_others(peer: str, header: list[str]) -> None:
    assert client_address(peer, header, PROXIES) == peer


@given(ours=st.lists(trusted), garbage=written)
def test_garbage_ends_at_the_proxy_that_passed_it_on(ours: list[str], garbage: str) -> None:
    nearest = ours[0] if ours else "10.0.0.1"

    assert client_address("10.0.0.1", [garbage, *ours], PROXIES) == nearest


@given(st.text())
def test_any_text_is_an_address_or_not_without_an_error(text: str) -> None:
    parsed = parse_address(text)

    assert parsed is None or parse_address(str(parsed)) == parsed


@given(st.ip_addresses(v=6, network="2001:db8::/32"), st.integers(0, 2**64 - 1))
def test_a_subscriber_of_ipv6_is_counted_as_one(address: object, host: int) -> None:
    network = int(address) >> 64 << 64  # type: ignore[call-overload]

    assert limiting_key(str(address)) == limiting_key(str(type(address)(network | host)))  # type: ignore[call-arg]


def test_networks_that_are_none_are_all_named() -> None:
    with pytest.raises(ConfigError) as raised:
        trusted_networks(["10.0.0.0/8", "nonsense", "10.0.0.0/99"])

    assert len(raised.value.mistakes) == 2
    assert "'nonsense'" in raised.value.mistakes[0]
