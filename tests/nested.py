"""What a run of pytest inside a test is told."""

WITHOUT_HYPOTHESIS = {"PYTEST_ADDOPTS": "-p no:hypothesispytest"}
"""Users of vnetlab need not have it, and its plugin takes a second in each process of pytest."""
