"""Names of ICMP errors (RFC 792; RFC 1812, 5.2.7; RFC 4443, 3)."""

ERROR_NAMES = {
    (4, 0x0300): "no-route",
    (4, 0x0301): "host-unreachable",
    (4, 0x0303): "port-unreachable",
    (4, 0x0304): "frag-needed",
    (4, 0x0309): "admin-prohibited",
    (4, 0x030A): "admin-prohibited",
    (4, 0x030D): "admin-prohibited",
    (4, 0x0B00): "ttl-exceeded",
    (6, 0x0100): "no-route",
    (6, 0x0101): "admin-prohibited",
    (6, 0x0103): "host-unreachable",
    (6, 0x0104): "port-unreachable",
    (6, 0x0200): "frag-needed",
    (6, 0x0300): "ttl-exceeded",
}
"""By IP version, and type * 256 + code."""


def error_name(version: int, kind: int) -> str:
    """Return the name of an ICMP error, or its type and code; ``kind`` is type * 256 + code."""
    return ERROR_NAMES.get((version, kind), f"type {kind >> 8} code {kind & 0xFF}")
