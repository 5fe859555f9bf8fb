"""Demo usage: rows.py makes it, writing.py writes it, service.py does both."""
