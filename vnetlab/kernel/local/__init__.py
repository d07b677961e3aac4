"""Labs whose host is this very machine: what they do to the namespace that vnetlab runs in, and undo.

facts.py looks before anything is done, journal.py records each step before steps.py takes it, move.py puts a
NIC under a bridge and back. claimed.py tells what is a lab's, undo.py works from the journal alone.
"""
