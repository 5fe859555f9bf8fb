"""The end of a run is sent to its webhook: signed, repeated until it is accepted, and to no address that is not public."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.utils import timezone

from agents import secrets
from tasks import service as task_service
from tasks import webhooks
from tasks.models import Status, Task, WebhookDelivery
from tasks.tests.conftest import again, done, due_now

pytestmark = pytest.mark.django_db


class Receiver:
    """An HTTP server that answers with `statuses`, then 200, and remembers what it was sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.received: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def listening() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            self.send_response(status)
            if status in (301, 307):
                self.send_header("Location", receiver.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOW_PRIVATE_ADDRESS = True
    with listening() as found:
        yield found


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """What a receiver does, written from the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(base64.b64decode(secret[len("whsec_") :]), signed, hashlib.sha256).digest()).decode()
    fresh = abs(timezone.now().timestamp() - int(headers["webhook-timestamp"])) < 300
    return fresh and any(hmac.compare_digest(one, f"v1,{expected}") for one in headers["webhook-signature"].split(" "))


def send(delivery: WebhookDelivery) -> WebhookDelivery:
    async_to_sync(webhooks.deliver)(delivery.pk)
    delivery.refresh_from_db()
    return delivery


def come_due(delivery: WebhookDelivery) -> None:
    WebhookDelivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def ended(make, owner, vendors, receiver) -> tuple[Task, str, WebhookDelivery]:
    task = make(webhook_url=receiver.url)
    secret = task_service.new_secret(task)
    with vendors():
        run = done(task, owner)
    assert run.status == Status.SUCCEEDED
    return task, secret, WebhookDelivery.objects.get(run=run)


def test_the_end_of_a_run_is_sent_and_its_signature_holds(ended, receiver):
    task, secret, delivery = ended
    assert send(delivery).state == "delivered"
    headers, body = receiver.received[0]
    assert verify(secret, headers, body)
    assert not verify(secret, headers, body + b" ")
    assert not verify(webhooks.new_secret(), headers, body)
    assert not verify(secret, headers | {"webhook-id": "other"}, body)
    message = json.loads(body)
    assert message["type"] == "task.run.succeeded" and message["data"]["task"]["id"] == str(task.pk)
    run = task.runs.get()
    assert message["data"]["run"]["output"] == run.output and Decimal(message["data"]["run"]["cost_usd"]) == run.cost_usd
    assert headers["content-type"] == "application/json"


def test_a_delivery_is_tried_again_with_the_same_id_and_body_and_a_new_time(ended, receiver):
    _, secret, delivery = ended
    receiver.statuses = [500, 503]
    assert (send(delivery).state, delivery.response_status) == ("pending", 500)
    assert delivery.next_attempt_at > timezone.now()
    assert send(delivery).attempts == 1, "not before its time"
    come_due(delivery)
    send(delivery)
    come_due(delivery)
    assert (send(delivery).state, delivery.attempts) == ("delivered", 3)
    assert len({body for _, body in receiver.received}) == 1 and len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert all(verify(secret, headers, body) for headers, body in receiver.received)


def test_pauses_grow_and_end(ended, receiver):
    delivery = ended[2]
    receiver.statuses = [500] * 20
    pauses = []
    for _ in range(len(webhooks.PAUSES) + 1):
        come_due(delivery)
        before = timezone.now()
        send(delivery)
        pauses.append((delivery.next_attempt_at - before).total_seconds())
    assert delivery.state == "failed" and delivery.attempts == len(webhooks.PAUSES) + 1
    assert all(0.75 * expected < pause < 1.3 * expected for expected, pause in zip(webhooks.PAUSES, pauses, strict=False))
    assert len(receiver.received) == delivery.attempts


def test_gone_is_final_and_a_redirect_is_not_followed(ended, receiver):
    delivery = ended[2]
    receiver.statuses = [307]
    assert (send(delivery).state, delivery.response_status, len(receiver.received)) == ("pending", 307, 1)
    receiver.statuses = [410]
    come_due(delivery)
    assert (send(delivery).state, delivery.response_status) == ("failed", 410)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://169.254.169.254/latest", "http://10.1.2.3/", "http://[::1]/"])
def test_no_packet_goes_to_an_address_that_is_not_public(make, owner, vendors, settings, url):
    task = make(webhook_url=url)
    with vendors():
        run = done(task, owner)
    delivery = send(WebhookDelivery.objects.get(run=run))
    assert (delivery.state, delivery.error, delivery.response_status) == ("failed", "blocked_url", None)


def test_failures_are_sent_too_but_not_attempts_that_are_repeated(make, owner, vendors, settings, receiver):
    settings.LLM_MAX_ATTEMPTS = 1
    with vendors() as sim:
        sim.plan("gpt-4o-mini", ["503", "400"])
        run = done(make(webhook_url=receiver.url), owner)
        assert run.status == Status.SCHEDULED and not WebhookDelivery.objects.exists()

        due_now(run)
        again(run)
    assert WebhookDelivery.objects.get(run=run).event == "task.run.failed"


def test_secrets_are_encrypted_and_rotate_with_the_others(make, settings):
    task = make(webhook_url="https://hooks.example.com/x")
    secret = task_service.new_secret(task)
    stored = Task.objects.get(pk=task.pk).webhook_secret_encrypted
    assert secret not in stored and secrets.decrypt(stored) == secret

    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.ENCRYPTION_KEYS]
    call_command("rotate_secrets")
    again = Task.objects.get(pk=task.pk).webhook_secret_encrypted
    assert again != stored and secrets.decrypt(again) == secret


def test_a_deleted_task_sends_nothing(ended, receiver):
    task, _, delivery = ended
    task_service.delete(task)
    assert send(delivery).state == "failed" and receiver.received == []
