"""Topology files: the model, loading with positions, addressing, routes, importers."""
