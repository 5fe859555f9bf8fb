"""Runs today's clients, unchanged, against a started product: `make clients`.

Each client has an environment of its own under `.data/clients`, because no environment can hold all of them. The Python
ones come from the package index, the JavaScript ones from npm.
"""
