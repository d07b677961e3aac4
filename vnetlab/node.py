"""One node of a lab that is up: run commands in it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vnetlab.description import NodeInfo
    from vnetlab.kernel.holder import Holder


ADMINISTRATION = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def environment() -> dict[str, str]:
    """Return our environment with the administrator's directories on the PATH.

    Inside a node one is root, whoever one is outside, and an ordinary user's PATH may lack nft.
    """
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path += [directory for directory in ADMINISTRATION if directory not in path]
    return {**os.environ, "PATH": os.pathsep.join(path)}


class Node:
    """A VM, host or machine of a lab that is up."""

    def __init__(self, holder: Holder, info: NodeInfo) -> None:
        self._holder = holder
        self.info = info

    @property
    def name(self) -> str:
        """The node's name in the topology."""
        return self.info.name

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return an argument list that runs ``argv`` inside the node, wherever it is started."""
        from vnetlab.kernel.enter import command as entering

        return entering(self._holder, self.name, list(argv))

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command inside the node, as `subprocess.run` does; captures output by default."""
        if not {"stdout", "stderr", "capture_output"} & options.keys():
            options["capture_output"] = True
        return subprocess.run(self.command(argv), text=True, check=options.pop("check", False), **options)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command inside the node, as `subprocess.Popen` does; it ends with the lab."""
        options.setdefault("env", environment())
        return subprocess.Popen(self.command(argv), text=True, **options)
