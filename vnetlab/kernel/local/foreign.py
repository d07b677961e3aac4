"""What firewalls this machine has besides its labs, in the namespace that the thread is in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vnetlab.kernel import nftables, read_tables
from vnetlab.kernel.local.facts import read_setting
from vnetlab.state import Sysctl

if TYPE_CHECKING:
    from vnetlab.state import NftTable

_OWN = "vnetlab-"
_BRIDGED = ("iptables", "ip6tables", "arptables")
_LEGACY = ("ip", "ip6", "arp")


def foreign_tables() -> tuple[NftTable, ...]:
    """Return the nftables tables that are no lab's; raises KernelError, FeatureUnavailable."""
    found = read_tables.tables(nftables.ruleset())
    return tuple(table for table in found if not table.name.startswith(_OWN))


def bridge_settings() -> tuple[Sysctl, ...]:
    """Return the settings that have frames between ports of a bridge meet IP rules, as they are."""
    keys = (f"net/bridge/bridge-nf-call-{which}" for which in _BRIDGED)
    values = ((key, read_setting(key)) for key in keys)
    return tuple(Sysctl(key, value) for key, value in values if value is not None)


def legacy_tables() -> tuple[str, ...]:
    """Return the families in which legacy iptables has rules, which nftables does not show."""
    files = {family: Path(f"/proc/net/{family}_tables_names") for family in _LEGACY}
    return tuple(family for family, path in files.items() if path.exists() and path.read_text().strip())
