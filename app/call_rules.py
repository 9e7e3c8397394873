"""A provider's allow-lists, compiled: methods, endpoints, parameters, origins, headers."""

import re
from urllib.parse import unquote

from msgspec import Struct

from config.providers import Provider


class CallRules(Struct, frozen=True):
    methods: frozenset[str]
    endpoints: frozenset[str]
    below: tuple[str, ...]
    """The same with a slash behind: what begins with one of them lies below an endpoint."""
    globs: tuple[tuple[str, re.Pattern[str]], ...]
    """Each as it is configured, and compiled."""
    parameters: dict[str, tuple[tuple[str, re.Pattern[str]], ...]]
    """Top-level field to (pattern as written, compiled)."""
    origins: frozenset[bytes]
    required_headers: tuple[bytes, ...]

    @classmethod
    def of(cls, provider: Provider) -> "CallRules":
        methods = set(provider.allowed_methods)
        if "GET" in methods:
            methods.add("HEAD")  # RFC 9110 section 9.3.2: the same as GET, without the body
        plain = [e.rstrip("/") for e in provider.allowed_endpoints if not _is_glob(e)]
        return cls(
            methods=frozenset(methods),
            endpoints=frozenset(plain),
            below=tuple(e + "/" for e in plain),
            globs=tuple((e, path_glob(e)) for e in provider.allowed_endpoints if _is_glob(e)),
            parameters={
                field: tuple((pattern, value_glob(pattern)) for pattern in patterns)
                for field, patterns in provider.param_whitelist.items()
            },
            origins=frozenset(o.encode() for o in provider.allowed_origins),
            required_headers=tuple(h.encode() for h in provider.required_headers),
        )

    def admits_path(self, path: str) -> bool:
        """Whether the path is an allowed endpoint or lies below one. `..` never is: the upstream would resolve it."""
        if is_ambiguous(path):
            return False
        if path in self.endpoints or path.startswith(self.below):
            return True
        return any(glob.fullmatch(path) for _, glob in self.globs)

    def endpoint_of(self, path: str) -> str:
        """The allowed endpoint, as it is configured, that admits a path."""
        if path in self.endpoints:
            return path
        below = [prefix for prefix in self.below if path.startswith(prefix)]
        if below:
            return max(below, key=len).rstrip("/")
        return next((written for written, glob in self.globs if glob.fullmatch(path)), "")


def is_ambiguous(path: str) -> bool:
    """A path that two servers may read differently: dot segments, empty segments, backslashes, encoded or not."""
    if "%" not in path and "/." not in path and "//" not in path and "\\" not in path:
        return False
    decoded = unquote(unquote(path)).replace("\\", "/")
    segments = decoded.split("/")
    return ".." in segments or "." in segments or "" in segments[1:-1] or "\\" in path or "\x00" in decoded


def path_glob(pattern: str) -> re.Pattern[str]:
    """`*` stands for one segment or part of it, `**` for any number of segments."""
    return re.compile(_translated(pattern))


def value_glob(pattern: str) -> re.Pattern[str]:
    """Go's path.Match: `*` and `?` do not cross a slash, `[a-z]` is a class, `\\` takes the next one as it is."""
    return re.compile(_translated(pattern), re.DOTALL)


def _is_glob(endpoint: str) -> bool:
    return any(c in endpoint for c in "*?[")


def _translated(pattern: str) -> str:
    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            out.append(".*")
            at += 1
        elif char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\")
            out.append(f"[{inner}]")
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)
