"""Entry of `llm-proxy`. Children of the server (`_proxy`, `_keeper`, ...) go past the command line's own machinery.

Nothing heavy is imported here or at the top of a command's file: `llm-proxy --help` and each child start lean.
"""

import atexit
import os
import sys


def run() -> None:
    arguments = sys.argv[1:]
    if arguments and arguments[0].startswith("_"):
        from app.cli.processes import run_process

        leave(run_process(arguments[0], arguments[1:]))
    from app.cli.commands import run_command

    leave(run_command(arguments))


def leave(code: int) -> None:
    """Ends the process without taking the interpreter apart: threads of Granian's that are still on their way out would
    meet it half gone, and one stop in forty then ended with an abort. What was to be done at exit is done.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    run()
