"""What schemathesis is to know beside the schema (`tests/schemathesis.toml` names this file)."""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Of these no schema can say which are fine: what is there, what one belongs to, what a model knows,
# where a name on the internet leads, how far apart places are, what a page of a list was, which
# width a number of heads divides.
ELSEWHERE = re.compile(
    r"dataset_id|team|measurements\.\d+\.receiver_id|out_of_service.*|receivers(\.\d+)?"
    r"|space\..*|config(\..*)?|url|cursor|series|heads",
    re.DOTALL,
)
PROBLEM = "application/problem+json"
NO_ZIP = "POST /api/v1/training/datasets/import"


@schemathesis.check
def what_fits_the_schema_is_taken(ctx: Any, response: Any, case: Any) -> bool | None:
    """As `positive_data_acceptance` (which is off); a 400 may only be about what lies elsewhere."""
    if response.status_code == 400 and PROBLEM in response.headers.get("content-type", []):
        wrong = response.json().get("errors", {})
        if wrong and all(ELSEWHERE.fullmatch(field) for field in wrong):
            return None
        if case.operation.label == NO_ZIP:
            return None
    return positive_data_acceptance(ctx, response, case)
