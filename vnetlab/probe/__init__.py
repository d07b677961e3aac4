"""Packets: guarantees become a flight of shots (pure), the wire flies it, the judge reads the log
(pure).
"""

PRELOAD = ("vnetlab.probe.counted", "vnetlab.probe.templates")
"""What an agent that is to probe imports meanwhile; Scapy alone takes a quarter of a second."""
