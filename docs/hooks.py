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
            generated |= _copies(path.rstrip("/"))
    for name, content in generated.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links out of ``docs/`` lead to the site's copy."""
    up = "../" * page.file.src_uri.count("/")

    def copy(link: re.Match[str]) -> str:
        path = link[1].rstrip("/")
        return f"]({up}files/{path}{'.md' if (_ROOT / path).is_dir() else ''})"

    return _OUTSIDE.sub(copy, markdown)


def _copies(path: str) -> dict[str, str]:
    """A file of the project under its place in the site; of a folder, a page with its files."""
    here = _ROOT / path
    if here.is_file():
        return {f"files/{path}": here.read_text(encoding="utf-8")}
    inside = sorted(one for one in here.rglob("*") if one.is_file() and one.suffix != ".pyc")
    found = {f"files/{one.relative_to(_ROOT)}": one.read_text("utf-8") for one in inside}
    lines = [f"- [{one.relative_to(here)}]({one.relative_to(here.parent)})" for one in inside]
    found[f"files/{path}.md"] = f"# {path}\n\n" + "\n".join(lines) + "\n"
    return found
