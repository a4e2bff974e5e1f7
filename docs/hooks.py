"""What the site has beside the written pages: files of the project, the API's operations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from mmcoord.reference import api_page, openapi

_ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(r"\]\((?:\.\./)+((?:deploy|tests|benchmarks)/[\w./-]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated page, and every file of the project that a page links to."""
    document = openapi()
    generated = {
        "operations.md": api_page(document),
        "openapi.json": json.dumps(document, indent=1),
    }
    for page in files.documentation_pages():
        for path, _ in _OUTSIDE.findall(page.content_string):
            generated[f"files/{path}"] = (_ROOT / path).read_text(encoding="utf-8")
    for name, content in generated.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links out of ``docs/`` lead to the site's copy."""
    up = "../" * page.file.src_uri.count("/")
    return _OUTSIDE.sub(rf"]({up}files/\1)", markdown)
