"""Search of runs, by a filter that becomes a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Concat, Replace, Substr
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    LessThan,
    LessThanOrEqual,
)

from training.mlflow import messages as m
from training.mlflow.experiments import DEFAULT_ID
from training.mlflow.filter_grammar import (
    Attributes,
    Column,
    Condition,
    Order,
    parse_filter,
    parse_order,
)
from training.mlflow.pages import decode_token, next_token, read_page
from training.mlflow.run_rows import (
    NOTE,
    RUN_NAME,
    STATUS,
    all_runs,
    as_message,
    as_uuid,
    in_experiments,
    visible_runs,
)
from training.models import Job
from training.models.comparisons import AnyDataset, ByCodePoint, Compares, JsonText
from training.models.expressions import MetricValue

ATTRIBUTES = Attributes(
    numeric=frozenset({"start_time", "end_time", "created", "Created"}),
    textual=frozenset({
        "run_id", "run_name", "run name", "Run name", "Run Name", "status", "user_id",
        "artifact_uri",
    }),
    in_lists=frozenset({"run_id"}),
    kinds=frozenset({"attribute", "metric", "param", "tag", "dataset"}),
)  # fmt: skip
_ALIASES = dict.fromkeys(("run name", "Run name", "Run Name"), "run_name") | dict.fromkeys(
    ("created", "Created"), "start_time"
)
_LOOKUPS: Mapping[str, Callable[..., Any]] = {
    "=": Exact, "<": LessThan, "<=": LessThanOrEqual, ">": GreaterThan, ">=": GreaterThanOrEqual,
}  # fmt: skip
READ_TOGETHER = 100  # runs, whose columns may have megabytes
MIN_MOMENT, MAX_MOMENT = 0.0, 253_402_300_799_999.0  # 1970 to 9999, in milliseconds


def search(user: User, request: m.SearchRuns) -> m.RunsResponse:
    conditions = parse_filter(request.filter, ATTRIBUTES)
    orders = [parse_order(text, ATTRIBUTES) for text in request.order_by]
    start = decode_token(request.page_token)
    end = start + request.max_results
    rows = in_experiments(visible_runs(user), user, request.experiment_ids)
    rows = _in_view(rows, request.run_view_type)
    for condition in conditions:
        rows = rows.filter(_as_query(condition))
    # The keys only: a database sorts narrow rows faster than complete runs.
    ordered = rows.order_by(*_ordering(orders)).values_list("pk", flat=True)
    keys = list(ordered[start : end + 1])
    page, sent = read_page(keys[: request.max_results], _read, as_message, READ_TOGETHER)
    return m.RunsResponse.model_construct(
        runs=page, next_page_token=next_token(start, sent, start + len(keys))
    )


def _read(keys: Sequence[UUID]) -> Mapping[UUID, Job]:
    return all_runs(whole=True).select_related("point_index").in_bulk(keys)


def _in_view(rows: QuerySet[Job], view: m.ViewType) -> QuerySet[Job]:
    if view == "ALL":
        return rows
    return rows.filter(mlflow_run__deleted_at__isnull=view == "ACTIVE_ONLY")


def _as_query(condition: Condition) -> Any:
    column, operator, value = condition.column, condition.operator, condition.value
    if column.kind == "dataset":
        return AnyDataset("mlflow_run__inputs", key=column.key, operator=operator, value=value)
    if column.kind == "attribute" and column.key in ATTRIBUTES.numeric:
        return _compare_moment(_expression(column), operator, value)
    if column == Column("attribute", "run_id") and operator in ("=", "IN"):
        # By the primary key, which has an index.
        texts = value if isinstance(value, tuple) else (str(value),)
        return Q(pk__in=[pk for pk in map(as_uuid, texts) if pk is not None])
    return Compares(_expression(column), operator, value)


def _compare_moment(expression: Any, operator: str, value: Any) -> Q:
    clamped = min(max(float(value), MIN_MOMENT), MAX_MOMENT)
    moment = datetime.fromtimestamp(clamped / 1000, UTC)
    if operator == "!=":
        return ~Q(Exact(expression, moment))
    return Q(_LOOKUPS[operator](expression, moment))


def _ordering(orders: Sequence[Order]) -> list[Any]:
    """Order like MLflow: missing values last; of equal values, the newest run first."""
    found: list[Any] = []
    for order in orders:
        expression = _expression(order.column)
        if order.column.kind != "metric" and order.column.key not in ATTRIBUTES.numeric:
            expression = ByCodePoint(expression)
        found.append(
            expression.desc(nulls_last=True)
            if order.descending
            else expression.asc(nulls_last=True)
        )
    return [*found, _started_at().desc(), "pk"]


def _expression(column: Column) -> Any:
    match column.kind:
        case "metric":
            return MetricValue("summary", name=column.key)
        case "param":
            # As `run_rows.params_of`.
            sources = ("mlflow_run__params", "config_texts", "config")
            return Coalesce(*(JsonText(source, name=column.key) for source in sources))
        case "tag" if column.key == RUN_NAME:
            return _run_name()
        case "tag" if column.key == NOTE:
            return F("notes")
        case "tag":
            return JsonText("mlflow_run__tags", name=column.key)
    return _ATTRIBUTES[_ALIASES.get(column.key, column.key)]()


def _run_id() -> Combinable:
    return _hexadecimal("pk")


def _hexadecimal(column: str) -> Combinable:
    """An ID without hyphens, which SQLite stores so."""
    return Replace(Cast(column, TextField()), _text("-"), _text(""), output_field=TextField())


def _text(value: str) -> Value:
    return Value(value, output_field=TextField())


def _run_name() -> Combinable:
    """As `str(job)`."""
    unnamed = Concat(_text("training "), Substr(_run_id(), 1, 8, output_field=TextField()))
    return Case(When(name="", then=unnamed), default=Cast("name", TextField()))


def _status() -> Combinable:
    whens = [When(status=status, then=Value(shown)) for status, shown in STATUS.items()]
    return Case(*whens, output_field=TextField())


def _user_id() -> Combinable:
    return Coalesce("mlflow_run__user_id", "owner__username", output_field=TextField())


def _artifact_uri() -> Combinable:
    experiment = Coalesce(_hexadecimal("project_id"), _text(DEFAULT_ID))
    return Concat(
        _text("mlflow-artifacts:/"), experiment, _text("/"), _run_id(), _text("/artifacts")
    )


def _started_at() -> Any:
    return Coalesce("started_at", "created_at")


_ATTRIBUTES: Mapping[str, Callable[[], Any]] = {
    "run_id": _run_id,
    "run_name": _run_name,
    "status": _status,
    "user_id": _user_id,
    "artifact_uri": _artifact_uri,
    "start_time": _started_at,
    "end_time": lambda: F("finished_at"),
}
