"""LiteLLM and Portkey, as their registries have them, in environments of their own: `make bench-peers` makes these.

Neither passes a query on to the upstream, so what the mock is to do is put before the path of their base URLs.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import yaml

from tests.bench.cases import CASES, Case
from tests.bench.load import CHAT, Job, asked
from tests.bench.stand import Mock
from tests.support.proxy import ROOT

_FOLDER: Final = ROOT / ".tools/bench"
LITELLM: Final = _FOLDER / "litellm/bin/litellm"
_PORTKEY_PACKAGE: Final = _FOLDER / "portkey/node_modules/@portkey-ai/gateway"
PORTKEY: Final = _PORTKEY_PACKAGE / "build/start-server.js"
_KEY: Final = "sk-of-the-bench"


def node() -> str | None:
    return shutil.which("node")


def versions() -> list[str]:
    """Of those that are installed."""
    found = [
        path.name.removesuffix(".dist-info").partition("-")[2]
        for path in _FOLDER.glob("litellm/lib/*/site-packages/litellm-*.dist-info")
    ]
    told = [f"litellm {version}" for version in found]
    if (package := _PORTKEY_PACKAGE / "package.json").exists():
        told.append(f"@portkey-ai/gateway {msgspec.json.decode(package.read_bytes())['version']}")
    return told


def _base_url(job: Job, mock: Mock, *, is_tls: bool) -> str:
    origin = mock.tls_url if is_tls else mock.url
    return f"{origin}/{asked(job)}/v1" if job.events else f"{origin}/v1"


def _environ(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **more}


def start_litellm(folder: Path, port: int, mock: Mock) -> subprocess.Popen[bytes]:
    """Quiet, without a database, and with its own copy of the price list: as fast as it goes."""
    folder.mkdir()
    settings = {"master_key": _KEY, "disable_spend_logs": True}
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            {"model_list": _models(mock), "general_settings": settings, "litellm_settings": {"num_retries": 0}}
        )
    )
    environ = _environ(
        LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR", SSL_CERT_FILE=str(mock.folder / "trusted.pem")
    )
    command = [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    log = (folder / "log").open("wb")
    return subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log, process_group=0)


def _models(mock: Mock) -> list[dict[str, object]]:
    """One for each thing that the mock can be asked for."""
    jobs = [(case, case.job(0, "", 0)) for case in CASES]
    urls = {_model(case, job): _base_url(job, mock, is_tls=case.is_tls) for case, job in jobs}
    return [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": url, "api_key": "sk-upstream"}}
        for name, url in urls.items()
    ]


def _model(case: Case, job: Job) -> str:
    return "tls" if case.is_tls else asked(job).replace("=", "-").replace("&", "-") or "plain"


def litellm_job(case: Case, port: int, seconds: float) -> Job:
    job = case.job(port, _KEY, seconds)
    status = 400 if case.is_refused else 200  # without a database it asks for one
    return msgspec.structs.replace(job, target=CHAT, model=_model(case, job), status=status)


def start_portkey(folder: Path, port: int, mock: Mock) -> subprocess.Popen[bytes]:
    folder.mkdir()
    environ = _environ(NODE_ENV="production", NODE_EXTRA_CA_CERTS=str(mock.folder / "trusted.pem"))
    log = (folder / "log").open("wb")
    command = [str(node()), str(PORTKEY), f"--port={port}", "--headless"]
    return subprocess.Popen(command, cwd=_PORTKEY_PACKAGE, env=environ, stdout=log, stderr=log, process_group=0)


def portkey_job(case: Case, port: int, seconds: float, mock: Mock) -> Job:
    job = case.job(port, "sk-upstream", seconds)
    where = f"x-portkey-custom-host: {_base_url(job, mock, is_tls=case.is_tls)}"
    return msgspec.structs.replace(job, target=CHAT, headers=("x-portkey-provider: openai", where))
