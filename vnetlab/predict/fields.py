"""The fields that nftables rules may look at: their types, and the words that stand for numbers.

Names and numbers are those of nft(8) and the kernel's linux/netfilter headers.
"""

from __future__ import annotations

from msgspec import Struct, field

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
FAMILIES = {"ipv4": 2, "ipv6": 10}
ABSENT = ("vlan", "sctp", "dccp", "udplite")
"""Headers that no packet of the model has."""
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
ICMP_CODES = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3,
    "frag-needed": 4, "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
ICMP6_CODES = {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5,
    "reject-route": 6,
}  # fmt: skip
DSCP = {
    "cs0": 0, "cs1": 8, "cs2": 16, "cs3": 24, "cs4": 32, "cs5": 40, "cs6": 48, "cs7": 56, "df": 0, "be": 0,
    "lephb": 1, "af11": 10, "af12": 12, "af13": 14, "af21": 18, "af22": 20, "af23": 22, "af31": 26,
    "af32": 28, "af33": 30, "af41": 34, "af42": 36, "af43": 38, "va": 44, "ef": 46,
}  # fmt: skip
ECN = {"not-ect": 0, "ect1": 1, "ect0": 2, "ce": 3}
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


class FieldType(Struct, frozen=True):
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
    Key("meta", "nfproto"): FieldType("number", FAMILIES),
    Key("meta", "l4proto"): _PROTOCOL,
    Key("meta", "protocol"): _ETHERTYPE,
    Key("meta", "pkttype"): FieldType("number", PACKET_TYPES),
    Key("meta", "mark"): _NUMBER,
    Key("meta", "length"): _NUMBER,
    Key("ip", "saddr"): _V4,
    Key("ip", "daddr"): _V4,
    Key("ip", "protocol"): _PROTOCOL,
    Key("ip", "ttl"): _NUMBER,
    Key("ip", "version"): _NUMBER,
    Key("ip", "hdrlength"): _NUMBER,
    Key("ip", "length"): _NUMBER,
    Key("ip", "dscp"): FieldType("number", DSCP),
    Key("ip", "ecn"): FieldType("number", ECN),
    Key("ip6", "saddr"): _V6,
    Key("ip6", "daddr"): _V6,
    Key("ip6", "nexthdr"): _PROTOCOL,
    Key("ip6", "hoplimit"): _NUMBER,
    Key("ip6", "version"): _NUMBER,
    Key("ip6", "length"): _NUMBER,
    Key("ip6", "dscp"): FieldType("number", DSCP),
    Key("ip6", "ecn"): FieldType("number", ECN),
    Key("tcp", "sport"): _PORT,
    Key("tcp", "dport"): _PORT,
    Key("tcp", "flags"): FieldType("bits", TCP_FLAGS),
    Key("udp", "sport"): _PORT,
    Key("udp", "dport"): _PORT,
    Key("udp", "length"): _NUMBER,
    Key("th", "sport"): _PORT,
    Key("th", "dport"): _PORT,
    Key("icmp", "type"): FieldType("number", ICMP_TYPES),
    Key("icmp", "code"): FieldType("number", ICMP_CODES),
    Key("icmp", "id"): _NUMBER,
    Key("icmpv6", "type"): FieldType("number", ICMP6_TYPES),
    Key("icmpv6", "code"): FieldType("number", ICMP6_CODES),
    Key("icmpv6", "id"): _NUMBER,
    Key("ether", "saddr"): _MAC,
    Key("ether", "daddr"): _MAC,
    Key("ether", "type"): _ETHERTYPE,
    Key("arp", "htype"): _NUMBER,
    Key("arp", "ptype"): _ETHERTYPE,
    Key("arp", "hlen"): _NUMBER,
    Key("arp", "plen"): _NUMBER,
    Key("arp", "operation"): FieldType("number", {"request": 1, "reply": 2}),
    Key("arp", "saddr ip"): _V4,
    Key("arp", "daddr ip"): _V4,
    Key("arp", "saddr ether"): _MAC,
    Key("arp", "daddr ether"): _MAC,
    Key("ct", "state"): FieldType("bits", STATES),
    Key("ct", "status"): FieldType("bits", STATUSES),
    Key("ct", "direction"): FieldType("number", {"original": 0, "reply": 1}),
    Key("ct", "mark"): _NUMBER,
    Key("ct", "l3proto"): FieldType("number", FAMILIES),
    Key("ct", "protocol"): _PROTOCOL,
    # What the model sends never has these, so that no rule about them fits.
    Key("vlan", "id"): _NUMBER,
    Key("vlan", "pcp"): _NUMBER,
    Key("vlan", "type"): _ETHERTYPE,
    **{Key(group, port): _PORT for group in ABSENT[1:] for port in ("sport", "dport")},
}
for _way in ("original", "reply"):
    TYPES |= {
        Key("ct", f"{_way} ip saddr"): _V4,
        Key("ct", f"{_way} ip daddr"): _V4,
        Key("ct", f"{_way} ip6 saddr"): _V6,
        Key("ct", f"{_way} ip6 daddr"): _V6,
        Key("ct", f"{_way} proto-src"): _PORT,
        Key("ct", f"{_way} proto-dst"): _PORT,
        Key("ct", f"{_way} l3proto"): FieldType("number", FAMILIES),
        Key("ct", f"{_way} protocol"): _PROTOCOL,
    }
FIB_TYPE = FieldType("number", FIB_TYPES)
FIB_DEVICE = FieldType("name")


def type_of(key: Key) -> FieldType | None:
    """Return the type of a field; None for one that the model does not know."""
    if key.group == "fib":
        return FIB_TYPE if key.name.endswith(" type") else FIB_DEVICE
    return TYPES.get(key)
