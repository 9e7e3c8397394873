"""Templates to HTML. The only place that knows Jinja.

A page includes its fragments as files (`_rows.html`), so that the fragment alone and inside its page is the same text.
Macros are globals, because a fragment has no page around it that could import them. An undefined name is an error.
"""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from admin import wording
from admin.assets import Assets

FOLDER: Final = Path(__file__).with_name("templates")
_MACROS: Final = "ui.html"


class Templates:
    def __init__(self, assets: Assets) -> None:
        self._env = Environment(
            loader=FileSystemLoader(FOLDER),
            undefined=StrictUndefined,
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.globals["asset"] = assets.url
        self._env.filters.update(
            count=wording.count,
            plural=wording.plural,
            moment=wording.moment,
            milliseconds=wording.milliseconds,
            size=wording.size,
            cost=wording.cost,
            percent=wording.percent,
            span=wording.span,
        )
        self._env.globals["ui"] = self._env.get_template(_MACROS).module

    def render(self, name: str, context: dict[str, Any]) -> str:
        return self._env.get_template(name).render(context)
