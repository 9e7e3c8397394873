"""`.env.example`, made from config/settings.py: `python -m config.env_example` writes it."""

import textwrap
from pathlib import Path
from typing import Final

from config.variables import variables

FILE: Final = Path(__file__).parent.parent / ".env.example"
_HEAD: Final = """\
# Every setting of llm-proxy with its default; made by `python -m config.env_example`, held equal by a test.
# Copy what you change into .env (or let `llm-proxy setup` write one). The environment wins over the file.
"""


def text() -> str:
    lines, group = [_HEAD], ""
    for variable in variables():
        if variable.group != group:
            group = variable.group
            lines.append(f"\n# --- {group}\n")
        about = textwrap.wrap(variable.description, 116)
        lines.append("\n" + "".join(f"# {line}\n" for line in about) + f"#{variable.env}={variable.default}\n")
    return "".join(lines)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
