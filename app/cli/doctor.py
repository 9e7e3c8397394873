"""`llm-proxy doctor`: looks at everything a server needs and says, a line each, what is wrong and what to do."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.cli import output
from app.cli.options import AsJson, EnvFile

_MARKS = {"ok": "ok  ", "warn": "note", "fail": "FAIL"}


def doctor(
    env: EnvFile = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Look at this DATA_DIR.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check settings, data folder, database, schema, spool, keeper, ports and keys.

    Exit code 0: a server will work (notes do not count); 1: something does not; 2: the settings cannot be used.

    \b
    Example:
      llm-proxy doctor --json
    """
    from app.cli.failures import FAILED, MISCONFIGURED
    from app.cli.findings import examine

    findings = asyncio.run(examine({"DATA_DIR": data_dir}, env))
    if as_json:
        output.as_json(findings)
    else:
        for finding in findings:
            advice = f" - {finding.advice}" if finding.advice else ""
            output.say(f"{_MARKS[finding.state]}  {finding.name:<11}{finding.text}{advice}")
    failed = {finding.name for finding in findings if finding.state == "fail"}
    if failed:
        raise typer.Exit(MISCONFIGURED if "settings" in failed else FAILED)
