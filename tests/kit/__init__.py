"""Helpers of the tests; a test module is imported by nothing."""
