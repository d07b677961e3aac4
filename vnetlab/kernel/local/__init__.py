"""Labs whose host is this very machine: what they do to the namespace that vnetlab runs in, and undo.

facts.py looks before anything is done, journal.py records each step before it is taken, build.py takes the
steps, move.py puts a NIC under a bridge and back, undo.py works from the journal alone.
"""
