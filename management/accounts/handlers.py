"""Login and the caller's own account."""

from fastapi import Response

from management.accounts import repository, service
from management.accounts.schemas import READ_ONLY, AccountChange, TokenRequest, shown
from management.api import envelope
from management.api.auth import ADMINS
from management.api.call import OpenBorder, OpenCall
from management.api.propagation import tell_account
from management.api.read_only import without_read_only
from management.api.tokens import LIFETIME
from management.campaigns.routing import account_row


async def issue_token(border: OpenBorder) -> Response:
    wanted = border.body(TokenRequest)
    services = border.services
    credential = await service.log_in(services.pool, services.passwords, wanted.email, wanted.password)
    token = services.tokens.issue(credential, int(border.now.timestamp()))
    return envelope.answer({"success": True, "token": token, "expires_in": LIFETIME})


async def get_account(call: OpenCall) -> Response:
    async with call.reading() as tenant:
        return call.answer(shown(tenant.account))


async def change_account(call: OpenCall) -> Response:
    async with call.writing(ADMINS) as tenant:
        fields = without_read_only(call.fields(), shown(tenant.account), READ_ONLY)
        wanted = call.body(AccountChange, fields)
        account = service.changed(tenant.account, wanted)
        row = await repository.change(tenant.connection, account)
    told = await tell_account(call.services.redis, account_row(row))
    return call.answer(shown(repository.account_of(row)) | {"propagated": told})
