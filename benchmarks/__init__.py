"""Benchmarks: the same labs built by hand-packed rtnetlink, by vnetlab and by Mininet, in one run."""
