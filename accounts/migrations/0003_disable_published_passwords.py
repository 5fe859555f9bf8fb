"""Accounts that still have a password of an earlier version's repository are disabled, with their sessions and keys."""

import logging

from django.contrib.auth.hashers import make_password
from django.db import migrations
from django.db.models import F, Q
from django.utils import timezone

from accounts.sign_in import published_passwords

log = logging.getLogger("accounts.sign_in.published_passwords")


def disable(apps, schema_editor):
    User = apps.get_model("accounts", "User")
    now = timezone.now()
    for user in User.objects.filter(Q(email__in=published_passwords.DIGESTS) | published_passwords.privileged(), is_active=True):
        if not published_passwords.matches(user.password):
            continue
        # Browser sessions hang on the password and the epoch, access tokens on the epoch, keys on both their own and the user's state.
        User.objects.filter(pk=user.pk).update(is_active=False, password=make_password(None), auth_epoch=F("auth_epoch") + 1)
        user.token_families.filter(revoked_at=None).update(revoked_at=now, revoked_reason="published_password")
        user.api_keys.filter(revoked_at=None).update(revoked_at=now)
        apps.get_model("accounts", "AuditEvent").objects.create(
            action=published_passwords.ACTION, target_type="accounts.user", target_id=str(user.pk), details={"email": user.email}
        )
        log.warning("%s was disabled: %s", user.email, published_passwords.REASON)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_account_mail")]

    operations = [migrations.RunPython(disable, migrations.RunPython.noop)]
