"""Whose request it is: the right-most address of X-Forwarded-For that none of our own proxies wrote.

Everything left of it was written by the client and may be a lie, so it is never looked at.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from config.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def trusted_networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """TRUSTED_PROXIES parsed; host bits may be set. Raises ConfigError."""
    networks, mistakes = [], []
    for cidr in cidrs:
        try:
            networks.append(ip_network(cidr, strict=False))
        except ValueError:
            mistakes.append(f"TRUSTED_PROXIES: {cidr!r} is no network such as 10.0.0.0/8 or fd00::/8")
    if mistakes:
        raise ConfigError(mistakes)
    return tuple(networks)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """`peer` is the socket's address, `forwarded_for` the header's values in order.

    A hop that is no address ends the walk: the proxy that passed it on is the answer then.
    """
    hop = parse_address(peer)
    if hop is None:
        return peer
    hops = [part for value in forwarded_for for part in value.split(",")]
    for text in reversed(hops):
        if not _is_trusted(hop, trusted):
            break
        earlier = parse_address(text)
        if earlier is None:
            break
        hop = earlier
    return str(hop)


def parse_address(text: str) -> Address | None:
    """An address with or without port, brackets, quotes and zone; IPv4 in IPv6 clothes comes out as IPv4."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def limiting_key(address: str) -> str:
    """Whom a limit counts: an IPv4 address, or the /64 that one subscriber of IPv6 has to himself."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed) if parsed is not None else address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted if network.version == address.version)
