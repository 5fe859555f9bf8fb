"""The source of the product, read for the tests of its structure."""
