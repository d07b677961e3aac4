"""Mininet with as many hosts as the lab has machines, and a LinuxBridge switch for each of its networks.

Run by the system's Python, which has Mininet, as ``mininet_lab.py HOSTS SWITCHES``, in namespaces of its own:
its switches are bridges in the namespace that it runs in. It makes no modes, no rules and no settings,
and IPv4 only. Prints a line of JSON when the network runs, and stops it when standard input closes.
"""

import json
import sys
import time

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import Topo

_PINGED = 15
"""Hosts of one switch whose ordered pairs are pinged: pingAll of a thousand takes half an hour."""


class Stars(Topo):  # type: ignore[misc]
    """Switches that know nothing of each other, each with its share of the hosts."""

    def build(self, hosts: int, switches: int) -> None:
        """Add them all."""
        names = [self.addSwitch(f"s{number}") for number in range(switches)]
        for number in range(hosts):
            self.addLink(self.addHost(f"h{number}"), names[number % switches])


def main() -> None:
    """Build, report, wait, stop."""
    hosts, switches = (int(argument) for argument in sys.argv[1:])
    setLogLevel("critical")
    began = time.perf_counter()
    net = Mininet(topo=Stars(hosts, switches), switch=LinuxBridge, controller=None, ipBase="10.0.0.0/8")
    net.start()
    seconds = {"start": time.perf_counter() - began}
    sys.stdout.write(json.dumps({"seconds": seconds, "spaces": []}) + "\n")
    sys.stdout.flush()
    if sys.stdin.readline():
        pinged = [net.get(f"h{number}") for number in range(0, hosts, switches)][:_PINGED]
        began = time.perf_counter()
        lost = net.ping(pinged)
        pair = (time.perf_counter() - began) / (len(pinged) * (len(pinged) - 1))
        sys.stdout.write(json.dumps({"pair": pair, "lost": lost}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    net.stop()


if __name__ == "__main__":
    main()
