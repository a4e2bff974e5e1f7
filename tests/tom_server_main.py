"""Runs inside the TOM's own environment: serve the project until standard input closes.

``tom_server_main.py PROJECT PORT`` prints one line of JSON (port, version) when it listens.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib.metadata import version


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Serve with Django's own development server, as ``manage.py runserver`` does."""
    project, port = sys.argv[1], int(sys.argv[2])
    os.chdir(project)
    sys.path.insert(0, project)
    os.environ["DJANGO_SETTINGS_MODULE"] = "mytom.settings"
    threading.Thread(target=_end_with_parent, daemon=True).start()

    import django
    from django.core.servers.basehttp import get_internal_wsgi_application, run

    django.setup()
    application = get_internal_wsgi_application()

    def announce(bound_port: int) -> None:
        print(json.dumps({"port": bound_port, "version": version("tomtoolkit")}), flush=True)

    run("127.0.0.1", port, application, threading=True, on_bind=announce)


if __name__ == "__main__":
    main()
