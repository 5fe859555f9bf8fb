"""Django's PostgreSQL backend, which fails fast while the server is unreachable (base.py)."""
