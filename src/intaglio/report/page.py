"""The page itself: what was gathered, put between the files of assets/ so that nothing else is needed to show it."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template
from typing import Any

LIBRARY, LICENCE = "chart.umd.min.js", "chart.LICENSE.txt"
SCRIPTS = ("base.js", "look.js", "curves.js", "tables.js", "view.js", "viewer.js", "viewer-input.js", "main.js")
STYLES = ("page.css", "viewer.css")


def build(data: Mapping[str, Any], pictures: Sequence[bytes]) -> bytes:
    """The whole page, UTF-8. `data` is JSON for the scripts; `pictures` are files that it numbers, WebP or PNG."""
    script, style = _script(), "\n".join(map(_asset, STYLES))
    # The policy allows these scripts and styles and nothing else: no request leaves the page, and a name out of
    # somebody's rows.csv that made its way into the markup could do nothing.
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src data: blob:",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    number = len(data.get("pictures", ()))
    title = f"Intaglio report, {number} picture{'' if number == 1 else 's'}"
    return (
        Template(_asset("page.html"))
        .substitute(
            title=html.escape(title),
            policy=html.escape(policy, quote=True).replace("&#x27;", "'"),
            style=style,
            script=script,
            data=_json(data),
            pictures="\n".join(
                f'<script type="text/plain" id="file-{index}">{base64.b64encode(each).decode()}</script>'
                for index, each in enumerate(pictures)
            ),
        )
        .encode()
    )


def _asset(name: str) -> str:
    return (files("intaglio.report") / "assets" / name).read_text(encoding="utf-8")


@functools.cache
def _script() -> str:
    # A browser's developer tools would ask for the source map, which is not there.
    library = re.sub(r"\n//# sourceMappingURL=.*", "", _asset(LIBRARY))
    own = "\n".join(map(_asset, SCRIPTS))
    return f'/*\n{_asset(LICENCE)}*/\n{library}\n(() => {{\n"use strict";\n{own}\n}})();\n'


def _digest(text: str) -> str:
    """How a content security policy names an inline script or style. Browsers take the text between the tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(data: Mapping[str, Any]) -> str:
    """JSON that no markup can end: the three characters that mean something in HTML are written as escapes."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
