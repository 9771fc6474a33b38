"""The part of the Kusto Query Language that the simulated tenant answers hunting queries in."""
