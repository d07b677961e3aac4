from __future__ import annotations

from vnetlab import Topology
from vnetlab.probe.exits import exits_of, way_out
from vnetlab.topology.links import macs_on_links

TEXT = """
hosts:
  hv1:
    networks:
      one: {mode: host-only, subnets: [10.1.0.0/24]}
      two: {mode: host-only, subnets: [10.2.0.0/24]}
    vms:
      both: {networks: [one, two], backend: tap, routes: [{to: 10.2.0.128/25, via: 10.1.0.1}]}
      near: {networks: {two: {address: 10.2.0.7}}}
"""


def test_the_longest_prefix_decides_and_a_route_names_its_next_hop() -> None:
    topology = Topology.parse(TEXT)
    both, near = topology.vms["both"], topology.vms["near"]
    macs = macs_on_links(topology, both.nics)
    exits = exits_of(both.nics, both.routes, macs)
    on_link, by_route, default = (
        way_out(exits, bytes(address)) for address in ([10, 2, 0, 7], [10, 2, 0, 200], [192, 0, 2, 1])
    )
    gateway = bytes.fromhex(topology.hosts["hv1"].networks["one"].mac.replace(":", ""))
    assert on_link
    assert by_route
    assert default
    assert (on_link.nic, on_link.mac) == ("eth1", b"")
    assert (by_route.nic, by_route.mac) == ("eth0", gateway)
    assert (default.nic, default.mac) == ("eth0", gateway)
    assert macs["eth1", near.nics[0].addresses[0].ip] == near.nics[0].mac
    assert way_out(exits, bytes(16)) is None
