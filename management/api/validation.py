"""From raw names and values to a frozen model, or one refusal that names every bad field (api.md section 2)."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from management.api.fields import Missing, NoSuchChoice, Unfit
from management.errors import Refusal, invalid

Model = TypeVar("Model", bound=BaseModel)
_MOST_NAMED = 20

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "may not be greater than {le}",
    "too_long": "may not have more than {max_length} entries",
}


def parse(model: type[Model], values: Mapping[str, Any]) -> Model:
    """`values` as `model`; raises Refusal (400) naming each bad field once."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise refusal_of(error) from None


def refusal_of(error: ValidationError) -> Refusal:
    """The 400 that says what pydantic found."""
    details: dict[str, list[str]] = {}
    for found in error.errors(include_url=False, include_input=False)[:_MOST_NAMED]:
        field = str(found["loc"][0])[:64] if found["loc"] else "body"
        details.setdefault(field, [_sentence(field, found["type"], found.get("ctx", {}))])
    return invalid(details)


def _sentence(field: str, kind: str, context: Mapping[str, Any]) -> str:
    cause = context.get("error")
    if isinstance(cause, Missing):
        return f"The {field} field is required"
    if isinstance(cause, NoSuchChoice) or kind == "literal_error":
        return f"The selected {field} is invalid"
    if isinstance(cause, Unfit):
        return f"The {field} field {cause}"
    if kind == "extra_forbidden":
        return f"The {field} field does not exist"
    return f"The {field} field {_SENTENCES.get(kind, 'is invalid').format(**context)}"
