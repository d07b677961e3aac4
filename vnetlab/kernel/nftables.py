"""nftables of the namespace that the thread is in, through libnftables.

The library takes nft text and hands the kernel one transaction, so a table is there as a whole or not at
all, and what a person reads in the plan is what is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import socket
import sys
from functools import cache
from pathlib import Path
from struct import Struct
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from vnetlab.errors import Absent, FeatureUnavailable, KernelError
from vnetlab.kernel import writes
from vnetlab.kernel.netlink import HEADER, NLM_F_DUMP, NLM_F_REQUEST
from vnetlab.plan.tables import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vnetlab.plan.tables import ChainKey, TableChange
    from vnetlab.state import NftTable

# Debian and Ubuntu ship the Python binding here, where a virtual environment does not look.
DISTRIBUTION = Path("/usr/lib/python3/dist-packages/nftables")
FEATURE = "libnftables"
_NETLINK_NETFILTER = 12
_NLMSG_DONE = 3
_TYPE, _TYPE_AT = Struct("=H"), 4
_PAGE = 4096
_GET_TABLES = HEADER.pack(HEADER.size + 4, 10 << 8 | 1, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + bytes(4)
"""NFT_MSG_GETTABLE of every family (linux/netfilter/nfnetlink.h, nf_tables.h)."""
_REMEDY = "`apt install python3-nftables libnftables1`"


def library() -> Any:
    """Return a new libnftables context, bound to the namespace that the thread is in.

    Raises FeatureUnavailable where the binding or the library is missing.
    """
    try:
        return _module().Nftables()
    except (ImportError, OSError) as error:
        absent = Absent(FEATURE, str(error), _REMEDY)
        raise FeatureUnavailable((absent,)) from error


def load(table: NftTable) -> None:
    """Load one table as a transaction; raises KernelError with nft's message and the line."""
    _commit(table.render(), f"table {table.family} {table.name}")


def change(changes: tuple[TableChange, ...]) -> None:
    """Change tables as one transaction; raises KernelError as load() does.

    It does so too where a chain has not the rules that the change counts on.
    """
    handles: dict[ChainKey, tuple[int, ...]] = {}
    for each in changes:
        edited = each.edited()
        if edited and each.before is not None:
            found = _handles(each.before)
            handles |= {key: found.get(key, ()) for key in edited}
            for chain in each.before.chains:
                key = (each.before.family, each.before.name, chain.name)
                if key in edited and len(chain.rules) != len(handles[key]):
                    raise KernelError(
                        f"nftables: chain {' '.join(key)} was changed by somebody else meanwhile"
                    )
    _commit(transaction(changes, handles), "a change of " + ", ".join(_names(changes)))


def _names(changes: tuple[TableChange, ...]) -> Iterator[str]:
    for each in changes:
        table = each.after or each.before
        if table:
            yield f"table {table.family} {table.name}"


def _handles(table: NftTable) -> dict[ChainKey, tuple[int, ...]]:
    """Return the kernel's numbers of the rules of each chain, in their order."""
    nft = library()
    nft.set_json_output(True)
    status, output, message = nft.cmd(f"list table {table.family} {table.name}")
    if status:
        raise KernelError(f"nftables: table {table.family} {table.name}: {message.strip()}")
    found: dict[ChainKey, tuple[int, ...]] = {}
    for item in json.loads(output)["nftables"]:
        if rule := item.get("rule"):
            key = (rule["family"], rule["table"], rule["chain"])
            found[key] = (*found.get(key, ()), rule["handle"])
    return found


def _commit(text: str, what: str) -> None:
    writes.begin(what)
    status, _, message = library().cmd(text)
    if status:
        why = (_located(text) or message).strip()
        raise KernelError(f"nftables refused {what}:\n{why}")
    writes.done(what)


def _located(text: str) -> str:
    """Return nft's complaint with the line that it is about, which it knows of files only."""
    with TemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        path = f"/proc/self/fd/{file.fileno()}"
        message = str(library().cmd(f'include "{path}"')[2])
    lines = message.replace(path, "line").splitlines()
    # The first line says only which file it was read from.
    return "\n".join(line for line in lines if not line.startswith("In file included"))


def delete(table: NftTable) -> None:
    """Delete one table; raises KernelError."""
    text = f"delete table {table.family} {table.name}"
    writes.begin(text)
    _run(text)
    writes.done(text)


def ruleset() -> str:
    """Return everything loaded, as `nft list ruleset` shows it; raises KernelError."""
    return _run("list ruleset") if _has_tables() else ""


def _has_tables() -> bool:
    """Tell whether anything is loaded; a context of the library takes ten times as long to see nothing.

    Where the kernel does not say, let the library speak.
    """
    raw = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    try:
        with socket.socket(socket.AF_NETLINK, raw, _NETLINK_NETFILTER) as asking:
            asking.send(_GET_TABLES)
            (kind,) = _TYPE.unpack_from(asking.recv(_PAGE), _TYPE_AT)
            return bool(kind != _NLMSG_DONE)
    except OSError:
        return True


def ruleset_json() -> str:
    """Return everything loaded as JSON (libnftables-json(5)); raises KernelError, FeatureUnavailable."""
    context = library()
    context.set_json_output(True)
    return _run("list ruleset", context)


def _run(text: str, context: Any = None) -> str:
    status, output, message = (context or library()).cmd(text)
    if status:
        raise KernelError(f"nftables: {text}: {message.strip()}")
    return str(output)


@cache
def _module() -> Any:
    try:
        module = importlib.import_module("nftables")
        if hasattr(module, "Nftables"):  # any folder of that name can be imported
            return module
    except ModuleNotFoundError:
        pass
    initial = DISTRIBUTION / "__init__.py"
    found = importlib.util.spec_from_file_location(
        "nftables", initial, submodule_search_locations=[str(DISTRIBUTION)]
    )
    if found is None or found.loader is None or not initial.exists():
        raise ModuleNotFoundError("No module named 'nftables'")
    module = importlib.util.module_from_spec(found)
    sys.modules["nftables"] = module
    found.loader.exec_module(module)
    return module
