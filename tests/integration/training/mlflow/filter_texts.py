"""Filter strings for fuzzing: written by the grammar, and most of them damaged afterward."""

from __future__ import annotations

from random import Random

TEXTS = (
    "", "a", "b", "c", "0.1", "Dev", "prod", "FINISHED", "RUNNING", "ada", "digits", "d1",
    "training", "Xy*z", "%", "_", "x%", "%a%", "[a-", "\\", "\\%", "it''s", "é", "İ", "\U0001f600",
    "%_" * 40, "a" * 300,
)  # fmt: skip
NUMBERS = (
    "0", "1", "-1", "0.25", "0.5", ".5", "1.", "1e-3", "-1E+3", "1e308", "1e999", "-1e999",
    "9" * 400, "1700000000000", "1700000000001", "253402300799999",
    "-62135596800001", "9223372036854775808", "1e-400", "00012", "1_000", "NaN", "inf", "0x10", "٣",
)  # fmt: skip
METRICS = ("loss", "`val-loss`", '"val-loss"', "missing", "a.b.c", '`a"b`', "`$.x`", "`'`", "``")
NAMES = ("lr", "`a b`", "stage", "missing", "`mlflow.user`", "mlflow.runName", "and", "`%s`", "é")
MOMENTS = ("start_time", "end_time", "created", "Created")
ATTRIBUTES = ("run_id", "run_name", "status", "user_id", "artifact_uri", "`Run name`")
DATASETS = ("name", "digest", "context", "source")
PREFIXES = ("", "attributes.", "attribute.", "attr.", "run.")
NUMERIC = ("=", "!=", "<", "<=", ">", ">=")
TEXTUAL = ("=", "!=", "LIKE", "ILIKE", "like", "ilike")
DAMAGE = (
    "'", '"', "`", "(", ")", ",", ".", ";", "--", "/*", "%", "%s", "%(a)s", "?", ":a", "$1", "\\",
    "{}", "{0}", " ", "\t", "\n", "\0", "\ud800", "\u202e", "\u00a0", "AND", "OR", "NOT", "IN",
    "IS", "NULL", "LIKE", "=", "<>", "==", "!", "-", "+", "1", "e9", "metrics.",
    "params.", "dataset.",
)  # fmt: skip


def filter_text(random: Random) -> str:
    """One third as the grammar has it, the others with up to four damages."""
    text = " AND ".join(_condition(random) for _ in range(random.choice((1, 1, 1, 2, 2, 3, 8))))
    if random.random() < 1 / 3:
        return text
    for _ in range(random.randint(1, 4)):
        text = _damaged(random, text)
    return text


def _condition(random: Random) -> str:
    choose = random.choice
    space = choose((" ", " ", " ", "", "  ", "\t", "\n"))
    match random.randrange(7):
        case 0:
            prefix, name, operators = choose(("metrics.", "metric.")), choose(METRICS), NUMERIC
            return f"{prefix}{name}{space}{choose(operators)}{space}{choose(NUMBERS)}"
        case 1:
            name = choose(PREFIXES) + choose(MOMENTS)
            return f"{name}{space}{choose(NUMERIC)}{space}{choose(NUMBERS)}"
        case 2 | 3:
            prefix = choose(("params.", "param.", "parameter.", "tags.", "tag."))
            if random.random() < 0.2:
                return f"{prefix}{choose(NAMES)} IS {choose(('', 'NOT '))}NULL"
            return f"{prefix}{choose(NAMES)} {choose(TEXTUAL)} {_quoted(random)}"
        case 4:
            return f"{choose(PREFIXES)}{choose(ATTRIBUTES)} {choose(TEXTUAL)} {_quoted(random)}"
        case 5:
            name = choose(("dataset.", "datasets.")) + choose(DATASETS)
            if random.random() < 0.5:
                return f"{name} {choose(TEXTUAL)} {_quoted(random)}"
        case _:
            name = choose(PREFIXES) + "run_id"
    count = choose((1, 2, 5, 200))
    listed = ", ".join(_quoted(random) for _ in range(count))
    return f"{name} {choose(('IN', 'NOT IN', 'in'))} ({listed})"


def _quoted(random: Random) -> str:
    quote = random.choice("''\"")
    return f"{quote}{random.choice(TEXTS)}{quote}"


def _damaged(random: Random, text: str) -> str:
    start, end = sorted(random.randint(0, len(text)) for _ in range(2))
    end = min(end, start + 12)
    match random.randrange(5):
        case 0:  # without a part
            return text[:start] + text[end:]
        case 1:  # a part twice
            return text[:end] + text[start:]
        case 2:  # a part of another filter
            return text[:start] + _condition(random)[: random.randint(1, 40)] + text[end:]
        case 3:  # one character for another
            other = chr(random.randrange(random.choice((0x80, 0x2100))))
            return text[:start] + other + text[start + 1 :]
        case _:
            return text[:start] + random.choice(DAMAGE) + text[start:]
