"""Entry of `llm-proxy`. Children of the server (`_proxy`, `_keeper`, ...) go past the command line's own machinery.

Nothing heavy is imported here or at the top of a command's file: `llm-proxy --help` and each child start lean.
"""

import sys


def run() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0].startswith("_"):
        from app.cli.processes import run_process

        sys.exit(run_process(arguments[0], arguments[1:]))
    from app.cli.commands import run_command

    sys.exit(run_command(arguments))


if __name__ == "__main__":
    run()
