"""Runs the benchmarks of what all processes share: `python -m benchmarks.shared` (stores.py)."""

from benchmarks.shared.stores import main

if __name__ == "__main__":
    main()
