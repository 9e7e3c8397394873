"""nginx as the limit of what a proxy can do: one worker, keep-alive to the upstream, nothing written down.

It checks one token and swaps it for an API key, as the proxy does; it keeps no record and no access log.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.bench.stand import TLS_HOST

TOKEN: Final = "a-token-that-nginx-knows"

_CONFIGURATION: Final = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 256k;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    map $http_authorization $is_known {{ default 0; "Bearer {token}" 1; }}
    upstream plain {{ server 127.0.0.1:{port}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 1h; }}
    upstream tls {{ server 127.0.0.1:{tls_port}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 1h; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer sk-of-the-upstream";
    proxy_buffering off;
    proxy_read_timeout 10m;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {trusted};
    proxy_ssl_name {tls_host};
    server {{
        listen 127.0.0.1:{listen} backlog=1024;
        if ($is_known = 0) {{ return 401; }}
        location / {{ proxy_pass http://plain; }}
        location {tls_prefix}/ {{ proxy_pass https://tls/; }}
    }}
}}
"""


def installed() -> str | None:
    """The program, which Debian keeps out of a user's path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def version() -> str:
    told = subprocess.run([str(installed()), "-v"], capture_output=True, text=True, check=True).stderr
    return "nginx " + re.split(r"[/\s]", told.strip())[3]


def start(
    folder: Path, *, listen: int, ports: tuple[int, int], trusted: Path, tls_prefix: str
) -> subprocess.Popen[bytes]:
    """`ports` of the upstream: plain and TLS."""
    folder.mkdir()
    path = folder / "nginx.conf"
    path.write_text(
        _CONFIGURATION.format(
            user="user root;" if os.getuid() == 0 else "",
            folder=folder,
            listen=listen,
            port=ports[0],
            tls_port=ports[1],
            trusted=trusted,
            token=TOKEN,
            tls_prefix=tls_prefix,
            tls_host=TLS_HOST,
        )
    )
    command = [str(installed()), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(path)]
    return subprocess.Popen(command, process_group=0)
