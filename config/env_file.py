"""`.env`: lines of NAME=value, `#` comments, an optional `export`, quotes around a value. Nothing is expanded."""

from pathlib import Path


def read_env_file(path: Path, mistakes: list[str], *, required: bool) -> dict[str, str]:
    """The last of a name counts. What is wrong is added to `mistakes`, with the line and without the value."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        if required:
            mistakes.append(f"{path}: no such file; leave it out or run `llm-proxy setup`")
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        mistakes.append(f"{path}: cannot be read ({reason})")
        return {}
    values = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            mistakes.append(f"{path}:{number}: expected NAME=value")
            continue
        values[name.strip()] = _unquote(value.strip())
    return values


def _unquote(value: str) -> str:
    """A quoted value ends at its quote; an unquoted one at ` #`."""
    if value[:1] in ("'", '"') and (end := value.find(value[0], 1)) > 0:
        rest = value[end + 1 :].strip()
        if not rest or rest.startswith("#"):
            return value[1:end]
    if value.startswith("#"):
        return ""
    return value.split(" #", 1)[0].rstrip()
