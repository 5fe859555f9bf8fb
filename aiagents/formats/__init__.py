"""How times and numbers are written on Django's pages (FORMAT_MODULE_PATH)."""
