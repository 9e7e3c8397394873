"""/manage/prices: what model tokens cost here, where that is not what the shipped price list says."""

from datetime import datetime
from typing import Annotated, get_args

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts import prices as acts
from admin.acts.timestamps import milliseconds, rfc3339
from admin.api.errors import check_configured
from admin.api.operation import Call, Operation, answer
from config.prices.override import ClassPrices, Dollars, PriceClass
from sql.repositories import prices
from sql.rows import PriceRow

Moment = Annotated[datetime, Meta(tz=True)]
Model = Annotated[
    str,
    Meta(
        description="A name or a glob, whatever its case; 1 to 256 visible ASCII characters.",
        extra_json_schema={"pattern": "^[!-~]{1,256}$"},
    ),
]


Costs = Annotated[
    dict[PriceClass, Dollars],
    Meta(
        min_length=1,
        description="US dollars per million model tokens; of `audio_hour` and a thousand searches.",
        extra_json_schema={"propertyNames": {"enum": list(get_args(PriceClass))}},
    ),
]


class PriceView(Struct, frozen=True, rename={"since": "from"}):
    id: str
    provider: str
    model: str
    prices: Costs
    since: str | None
    until: str | None
    updated_at: str
    updated_by: str


class NewPrice(Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    provider: Annotated[str, Meta(min_length=1, max_length=64, description="A provider that is configured.")]
    model: Model
    prices: Costs
    since: Annotated[Moment, Meta(description="RFC 3339; left out: from ever on.")] | None = None
    until: Annotated[Moment, Meta(description="RFC 3339, not included; left out: for ever.")] | None = None


async def list_prices(call: Call) -> Response:
    return answer([_view(row) for row in await prices.read_all(call.deps.stores.main)])


async def set_price(call: Call, body: NewPrice) -> Response:
    check_configured(body.provider, call.deps.providers.by_name)
    row = await acts.set_price(
        call.deps.stores,
        call.deps.clock,
        call.actor,
        provider=body.provider,
        model=body.model,
        costs=ClassPrices(**body.prices),
        from_ms=None if body.since is None else milliseconds(body.since),
        until_ms=None if body.until is None else milliseconds(body.until),
    )
    return answer(_view(row))


async def remove_price(call: Call) -> Response:
    await acts.remove_price(call.deps.stores, call.deps.clock, call.actor, call.ids["id"])
    return Response(status_code=204)


def _view(row: PriceRow) -> PriceView:
    return PriceView(
        id=row.id,
        provider=row.provider,
        model=row.model,
        prices=acts.prices_of(row),
        since=rfc3339(row.from_ms) if row.from_ms else None,
        until=rfc3339(row.until_ms),
        updated_at=rfc3339(row.updated_at_ms),
        updated_by=row.updated_by,
    )


_ALL = "/manage/prices"

OPERATIONS = (
    Operation(
        method="GET",
        path=_ALL,
        summary="List the prices that count instead of the shipped list",
        act=list_prices,
        answer=list[PriceView],
    ),
    Operation(
        method="PUT",
        path=_ALL,
        summary="Set a price, in the place of the one for the same models from the same time on",
        act=set_price,
        body=NewPrice,
        answer=PriceView,
        scope="pipeline",
        audit_action=acts.SET,
        errors=(409,),
    ),
    Operation(
        method="DELETE",
        path=f"{_ALL}/{{id}}",
        summary="Remove a price; the shipped list counts again",
        act=remove_price,
        status=204,
        scope="pipeline",
        audit_action=acts.REMOVE,
    ),
)
