"""Settings below /proc/sys/net, of the network namespace that the thread is in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vnetlab.errors import KernelError
from vnetlab.kernel import writes

if TYPE_CHECKING:
    from vnetlab.state import Sysctl

# Keys that a kernel may lack without harm: bridge netfilter calls nothing where it is not loaded, and
# the limits of ICMP errors belong to the initial namespace only before Linux 6.11. Any other missing
# key is an error.
OPTIONAL = (
    "net/bridge/",
    "net/ipv4/icmp_msgs_per_sec",
    "net/ipv4/icmp_msgs_burst",
    "net/ipv4/conf/all/drop_",
    "net/ipv4/conf/default/drop_",
    "net/ipv6/conf/all/force_",
    "net/ipv6/conf/default/force_",
)


def write(sysctls: tuple[Sysctl, ...]) -> None:
    """Write settings in their order; raises KernelError naming the key that the kernel refused."""
    for sysctl in sysctls:
        try:
            # Plain system calls: a lab writes tens of settings in each of its namespaces.
            descriptor = os.open(f"/proc/sys/{sysctl.key}", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if sysctl.key.startswith(OPTIONAL):
                continue
            raise KernelError(f"sysctl {sysctl.key}: the kernel has no such setting") from error
        except OSError as error:
            raise KernelError(f"sysctl {sysctl.key}: {error.strerror}") from error
        try:
            writes.begin(sysctl.key)
            os.write(descriptor, sysctl.value.encode())
            writes.done(sysctl.key)
        except OSError as error:
            raise KernelError(f"sysctl {sysctl.key}={sysctl.value}: {error.strerror}") from error
        finally:
            os.close(descriptor)
