"""A Celery task that ends must not take the connections of the runs that its process has on its loop."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.fixups.django import DjangoWorkerFixup
from django.db import connections

from aiagents import celery


@pytest.mark.django_db
def test_the_end_of_a_task_closes_no_pool_in_a_forked_worker(monkeypatch, settings):
    closed: list[str] = []
    fixup = DjangoWorkerFixup(celery.app)
    ended = SimpleNamespace(request=SimpleNamespace(is_eager=False))
    monkeypatch.setattr(DjangoWorkerFixup, "_is_prefork", lambda self: True)
    databases = {"default": {"OPTIONS": {"pool": True}}}
    monkeypatch.setattr(fixup, "_settings", SimpleNamespace(DATABASES=databases))
    wrapper = type(connections["default"])
    monkeypatch.setattr(wrapper, "close_pool", lambda self: closed.append(self.alias), raising=False)
    monkeypatch.setattr(wrapper, "close", lambda self: None)  # the test's own transaction stays
    fixup.on_task_postrun(ended)
    assert closed == ["default"], "Celery does no such thing any more: aiagents.celery need not keep it from it"
    closed.clear()
    monkeypatch.setattr(celery, "settings", SimpleNamespace(DATABASES=databases))
    celery.no_pool()
    fixup.on_task_prerun(ended)
    fixup.on_task_postrun(ended)
    assert closed == []
