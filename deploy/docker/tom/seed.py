"""The group whose members see mmcoord's targets, and mmcoord's own user with its token."""

import os
from pathlib import Path

from django.contrib.auth.models import Group, User
from rest_framework.authtoken.models import Token

secret = Path(os.environ.get("TOM_TOKEN_FILE", "/run/secrets/tom_token"))
group, _ = Group.objects.get_or_create(name="mmcoord")
user, is_new = User.objects.get_or_create(username="mmcoord")
if is_new:
    user.set_unusable_password()
    user.save()
user.groups.add(group)
Token.objects.filter(user=user).delete()
Token.objects.create(user=user, key=secret.read_text().strip())
