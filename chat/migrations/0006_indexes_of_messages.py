from django.db import migrations, models

from aiagents.core.db.indexes import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('chat', '0005_erase_deleted'),
    ]

    operations = [
        AddIndexOnline(
            model_name='message',
            index=models.Index(condition=models.Q(('request_id', ''), _negated=True), fields=['request_id'], name='message_request'),
        ),
        AddIndexOnline(
            model_name='conversation',
            index=models.Index(condition=models.Q(('deleted_at', None), _negated=True), fields=['deleted_at'], name='conversation_deleted'),
        ),
    ]
