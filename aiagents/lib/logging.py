"""Logging (placeholder until the web-plumbing room is built)."""

import logging.config


def configure(options: dict) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"level": options["level"]}})
