"""Target machines: the placement and cost of each operation, by the vendors' own tools."""
