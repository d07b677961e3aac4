"""Packets: guarantees become a flight of shots (pure), the wire flies it, the judge reads the log
(pure).
"""
