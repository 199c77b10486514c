"""Bodies and answers of login and account."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from management.accounts.repository import Account
from management.api.fields import Body, Currency, Email, Name, Password, TimeZone
from management.api.moments import moment
from management.campaigns.urls import FallbackUrl

READ_ONLY = frozenset(("id", "status", "plan", "created_at", "updated_at"))


class TokenRequest(Body):
    """E-mail and password of a user."""

    email: Email
    password: Password


class TokenAnswer(BaseModel):
    """A Bearer token; it ends after `expires_in` seconds."""

    success: Literal[True] = True
    token: str
    expires_in: int = 86_400


class AccountChange(Body):
    """Only the fields sent are changed."""

    company_name: Name = ""
    time_zone: TimeZone = ""
    currency: Currency = ""
    fallback_url: FallbackUrl | None = None


class AccountAnswer(BaseModel):
    """The account that the credential belongs to."""

    id: str = Field(examples=["acc_5f0c2b7d9e1a4c3b8d6e7f01"])
    company_name: str
    status: Literal["active", "suspended"]
    plan: str
    time_zone: str
    currency: str
    fallback_url: str | None
    created_at: datetime
    updated_at: datetime
    propagated: bool = Field(False, description="In answers to a change alone: whether every live edge has it")


def shown(account: Account) -> dict[str, Any]:
    return {
        "id": account.public_id,
        "company_name": account.company_name,
        "status": account.status,
        "plan": account.plan,
        "time_zone": account.time_zone,
        "currency": account.currency,
        "fallback_url": account.fallback_url,
        "created_at": moment(account.created_at),
        "updated_at": moment(account.updated_at),
    }
