"""The only package that touches the machine: holder, namespaces, rtnetlink, nftables, sysctls."""
