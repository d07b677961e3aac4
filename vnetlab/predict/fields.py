"""The fields that nftables rules may look at: their types, and the words that stand for numbers.

Names and numbers are those of nft(8) and the kernel's linux/netfilter headers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vnetlab.predict.rules import Key

STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
STATUSES = {
    "expected": 1,
    "seen-reply": 2,
    "assured": 4,
    "confirmed": 8,
    "snat": 16,
    "dnat": 32,
    "dying": 512,
}
TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ip": 0, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51,
    "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132, "udplite": 136,
}  # fmt: skip
ETHERTYPES = {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "vlan": 0x8100, "8021q": 0x8100}
ICMP_TYPES = {
    "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
    "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
}  # fmt: skip
ICMP6_TYPES = {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
    "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
    "mld-listener-done": 132, "nd-router-solicit": 133, "nd-router-advert": 134,
    "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136, "nd-redirect": 137, "mld2-listener-report": 143,
}  # fmt: skip
FIB_TYPES = {
    "unspec": 0, "unicast": 1, "local": 2, "broadcast": 3, "anycast": 4, "multicast": 5,
    "blackhole": 6, "unreachable": 7, "prohibit": 8,
}  # fmt: skip
PACKET_TYPES = {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3}
SERVICES = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
    "http": 80, "ntp": 123, "snmp": 161, "https": 443, "dhcpv6-client": 546, "dhcpv6-server": 547,
    "mdns": 5353, "http-alt": 8080,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldType:
    """What the values of a field are."""

    kind: str
    """``name``, ``number``, ``bits``, ``ipv4``, ``ipv6`` or ``mac``."""
    words: dict[str, int] = field(default_factory=dict)


_NAME, _NUMBER, _PORT = FieldType("name"), FieldType("number"), FieldType("number", SERVICES)
_V4, _V6, _MAC = FieldType("ipv4"), FieldType("ipv6"), FieldType("mac")
_PROTOCOL = FieldType("number", PROTOCOLS)
_ETHERTYPE = FieldType("number", ETHERTYPES)

TYPES: dict[Key, FieldType] = {
    Key("meta", "iifname"): _NAME,
    Key("meta", "oifname"): _NAME,
    Key("meta", "ibrname"): _NAME,
    Key("meta", "obrname"): _NAME,
    Key("meta", "nfproto"): FieldType("number", {"ipv4": 2, "ipv6": 10}),
    Key("meta", "l4proto"): _PROTOCOL,
    Key("meta", "protocol"): _ETHERTYPE,
    Key("meta", "pkttype"): FieldType("number", PACKET_TYPES),
    Key("meta", "mark"): _NUMBER,
    Key("ip", "saddr"): _V4,
    Key("ip", "daddr"): _V4,
    Key("ip", "protocol"): _PROTOCOL,
    Key("ip", "ttl"): _NUMBER,
    Key("ip", "version"): _NUMBER,
    Key("ip6", "saddr"): _V6,
    Key("ip6", "daddr"): _V6,
    Key("ip6", "nexthdr"): _PROTOCOL,
    Key("ip6", "hoplimit"): _NUMBER,
    Key("ip6", "version"): _NUMBER,
    Key("tcp", "sport"): _PORT,
    Key("tcp", "dport"): _PORT,
    Key("tcp", "flags"): FieldType("bits", TCP_FLAGS),
    Key("udp", "sport"): _PORT,
    Key("udp", "dport"): _PORT,
    Key("th", "sport"): _PORT,
    Key("th", "dport"): _PORT,
    Key("icmp", "type"): FieldType("number", ICMP_TYPES),
    Key("icmp", "code"): _NUMBER,
    Key("icmp", "id"): _NUMBER,
    Key("icmpv6", "type"): FieldType("number", ICMP6_TYPES),
    Key("icmpv6", "code"): _NUMBER,
    Key("icmpv6", "id"): _NUMBER,
    Key("ether", "saddr"): _MAC,
    Key("ether", "daddr"): _MAC,
    Key("ether", "type"): _ETHERTYPE,
    Key("arp", "operation"): FieldType("number", {"request": 1, "reply": 2}),
    Key("arp", "saddr ip"): _V4,
    Key("arp", "daddr ip"): _V4,
    Key("arp", "saddr ether"): _MAC,
    Key("ct", "state"): FieldType("bits", STATES),
    Key("ct", "status"): FieldType("bits", STATUSES),
    Key("ct", "direction"): FieldType("number", {"original": 0, "reply": 1}),
}
FIB_TYPE = FieldType("number", FIB_TYPES)
FIB_DEVICE = FieldType("name")


def type_of(key: Key) -> FieldType | None:
    """Return the type of a field; None for one that the model does not know."""
    if key.group == "fib":
        return FIB_TYPE if key.name.endswith(" type") else FIB_DEVICE
    return TYPES.get(key)
