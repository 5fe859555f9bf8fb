"""`python -m benchmarks`: what our door adds to a call (benchmarks/gateway.py)."""

from benchmarks.gateway import main

main()
