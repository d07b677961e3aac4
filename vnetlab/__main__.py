"""`python -m vnetlab`: the command line."""

from vnetlab.cli.main import main

main()
