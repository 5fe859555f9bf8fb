"""Runs the comparison of calls through the product: `python -m benchmarks.gateway` (calls.py)."""

from benchmarks.gateway.calls import main

if __name__ == "__main__":
    main()
