"""Server processes and whole installations of the product, started by tests."""
