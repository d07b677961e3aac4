"""Virtual networking labs that prove what their network modes promise.

``Topology`` reads a topology file, ``Lab`` brings it up, probes it and takes it down::

    from vnetlab import Lab, Topology

    with Lab(Topology.load("topologies/nat.yaml")) as lab:
        print(lab["web"].run(["ip", "route"]).stdout)

Both names are loaded on first use: the command line answers ``--help`` without them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vnetlab.lab import Lab
    from vnetlab.topology.model import Topology

__version__ = "0.1.0"
__all__ = ["Lab", "Topology", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Lab":
        from vnetlab.lab import Lab

        return Lab
    if name == "Topology":
        from vnetlab.topology.model import Topology

        return Topology
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
