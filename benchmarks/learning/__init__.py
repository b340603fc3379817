"""The laboratory: which methods and votes learn best, measured with the product's own code."""
