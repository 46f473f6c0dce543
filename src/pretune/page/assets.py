"""The script and the style sheet of the page, as they are in the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pretune.errors import UsageError

SCRIPT_NAME, STYLE_NAME = "page.js", "page.css"


@dataclass(frozen=True, kw_only=True)
class Assets:
    """What every page carries: one script and one style sheet."""

    script: str
    style: str


@cache
def read_assets() -> Assets:
    """The assets of this installation. Raises UsageError if it has none, as a source tree before `make page`."""
    folder = files("pretune.page") / "assets"
    try:
        script, style = ((folder / name).read_text(encoding="utf-8") for name in (SCRIPT_NAME, STYLE_NAME))
    except FileNotFoundError as error:
        raise UsageError(
            f"The page has no {SCRIPT_NAME} or {STYLE_NAME} in {folder}; install pretune again, or, in a source tree, "
            "run `make page`."
        ) from error
    # In an inline script `<!--` would begin a state of the HTML parser in which `</script>` does not end the element.
    return Assets(script=script.replace("<!--", "\\x3C!--"), style=style)
