"""The command line: arguments, and the function behind each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from heimdall_sdk import __version__
from heimdall_sdk.cli import completion, importing, jobs, login, logs, sync, watch
from heimdall_sdk.cli.errors import CommandError, UsageError
from heimdall_sdk.cli.parser import Parser

INTERRUPTED = 130
COMPLETE = "__complete"
EPILOG = """\
IDs may be abbreviated. The server is that of HEIMDALL_URL and HEIMDALL_TOKEN, else that of
`heimdall login`. Exit status: 0 success, 1 failure, 2 wrong usage."""

Command = Callable[[argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if words is None else words)
    parser = make_parser()
    try:
        if words[:1] == [COMPLETE]:
            return completion.complete(parser, words[2:] if words[1:2] == ["--"] else words[1:])
        arguments = parser.parse_args(words)
        command: Command = arguments.function
        status = command(arguments)
        sys.stdout.flush()
        return status
    except (CommandError, UsageError) as error:
        print(f"heimdall: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe; Python would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def make_parser() -> Parser:
    parser = Parser(
        prog="heimdall", description="Watch and control trainings on Heimdall.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"heimdall {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser
    )

    def add(name: str, function: Command, description: str, *, json: bool = True) -> Parser:
        one = commands.add_parser(name, help=description, description=f"{description}.")
        parser.commands[name] = one
        one.set_defaults(function=function)
        if json:
            one.add_argument("--json", action="store_true", help="print JSON, one object per line")
        return one

    _add_login(add("login", login.login, "Store a token for a server", json=False))
    _add_jobs(add("jobs", jobs.list_jobs, "List jobs, the newest first"))
    add("programs", jobs.list_programs, "List the programs that can be trained")
    _add_submit(add("submit", jobs.submit, "Queue a job"))
    _add_id(add("watch", watch.watch, "Follow a job until it ends; status 0 if it completed"))
    _add_logs(add("logs", logs.logs, "Print the output of a job"))
    for name, description in (
        ("pause", "Pause jobs after a checkpoint"),
        ("resume", "Queue paused or failed jobs again"),
        ("cancel", "Stop jobs permanently"),
    ):
        one = add(name, jobs.control, description)
        one.add_argument("ids", nargs="+", metavar="ID")
    _add_export(add("export", jobs.export, "Save the metrics of a job", json=False))
    _add_import(add("import", importing.import_runs, "Import runs that other tools have recorded"))
    _add_sync(add("sync", sync.sync, "Send reports that runs stored while offline"))
    one = add("completion", completion.completion, "Print a tab completion script", json=False)
    one.add_argument("shell", choices=("bash", "zsh"))
    return parser


def _add_id(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help="of a job; its beginning is enough")


def _add_login(parser: Parser) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help="such as http://localhost:8001")
    parser.add_argument("--user", metavar="NAME", help="ask for the password only")


def _add_jobs(parser: Parser) -> None:
    parser.add_argument("--status", action="append", default=[], help="also several: a,b")
    parser.add_argument("--project", metavar="NAME")
    parser.add_argument("--program", metavar="NAME")
    parser.add_argument("--tag", action="append", default=[], help="repeat it to require several")
    parser.add_argument("--search", metavar="TEXT", help="in names and notes")
    parser.add_argument(
        "-n", type=int, default=20, dest="limit", metavar="N", help="how many; default 20"
    )


def _add_submit(parser: Parser) -> None:
    parser.add_argument("program", metavar="PROGRAM", help="as in `heimdall programs`")
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], dest="parameters", metavar="NAME=VALUE",
        help="a parameter of the program; repeat it for several",
    )  # fmt: skip
    parser.add_argument("--name", help="shown in lists")
    parser.add_argument("--project", metavar="NAME", help="a new name creates a project")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--dataset", metavar="ID", help="for a program that needs one")
    parser.add_argument("--init-from", metavar="ID", help="start from the weights of this job")
    parser.add_argument("--needs", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--priority", type=int, metavar="N")
    parser.add_argument("--processes", type=int, metavar="N", help="start it with torchrun")
    parser.add_argument("--watch", action="store_true", help="follow it as `heimdall watch` does")


def _add_logs(parser: Parser) -> None:
    _add_id(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="until the job ends")
    parser.add_argument("--attempt", type=int, metavar="N", help="default: the newest")


def _add_export(parser: Parser) -> None:
    _add_id(parser)
    parser.add_argument("--format", default="csv", choices=("csv", "jsonl", *jobs.BINARY_FORMATS))
    parser.add_argument("-o", "--output", metavar="FILE", help="default: print it")


def _add_import(parser: Parser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH",
        help="a CSV file or a folder of them, a folder with TensorBoard event files, mlruns or "
        "mlflow.db of MLflow, or sqlite:///… or postgresql://… with its database",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be imported, and send nothing"
    )
    parser.add_argument("--project", metavar="NAME", help="instead of the one recorded")
    parser.add_argument("--name", help="instead of the one recorded")
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument("--step", metavar="COLUMN", help="of a CSV file; default: step or epoch")
    parser.add_argument(
        "--steps-are-epochs", action="store_true", help="each step is the end of an epoch"
    )
    parser.add_argument(
        "--objective", metavar="METRIC[:maximize]", help="decides which epoch is best"
    )


def _add_sync(parser: Parser) -> None:
    parser.add_argument("directory", nargs="?", metavar="FOLDER", help="default: the spool")
