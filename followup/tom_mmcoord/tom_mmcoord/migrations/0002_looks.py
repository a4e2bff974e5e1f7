"""Further looks at a target, as data and not only in words."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tom_mmcoord", "0001_first")]

    operations = [
        migrations.AddField(
            model_name="followuprequest",
            name="looks",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
