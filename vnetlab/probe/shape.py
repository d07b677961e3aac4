"""What frames, readers and templates agree on: where the tag is, and how a template is laid out."""

from __future__ import annotations

from msgspec import Struct

TAG_BYTES = 8
"""Flight (4 bytes) and shot with its flags (4 bytes)."""
DHCP_TAG = 36
"""The unused end of BOOTP's ``chaddr`` field (RFC 2131 section 2), counted from the start of
BOOTP.
"""
DHCP6_TAG = 14
"""The identifier of a DUID-EN (RFC 8415 section 11.3), counted from the start of the message."""


class Template(Struct, frozen=True):
    """A packet without addresses, ports, tag and checksums filled in."""

    data: bytes
    """From the IP header on; of ARP, from the ARP header on."""
    protocol: int
    """Of the transport header; 0 for ARP."""
    transport: int
    """Offset of the transport header."""
    checksum: int
    """Offset of the transport checksum."""
    tag: int
    """Offset of the 8 tag bytes; 0 where the packet is known by other fields."""
