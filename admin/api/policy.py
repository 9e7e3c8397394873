"""/manage/policy: the document that says what may be asked of the gateway, how often and for how much.

Who changes it says which version was read, so that nobody's change is lost. Single limits can be put and removed
without the rest.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct
from starlette.responses import Response

from admin.acts import policy as acts
from admin.acts.policy_changes import PolicyChanges, changes_between
from admin.acts.timestamps import rfc3339
from admin.api.operation import Call, Operation, answer
from sql.repositories import policies
from sql.rows import PolicyRow

Version = Annotated[int, Meta(ge=0, le=2**53 - 1, description="0: there has never been one.")]
Document = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Policy"})]
LimitDocument = Annotated[dict[str, Any], Meta(extra_json_schema={"$ref": "#/components/schemas/Limit"})]


class PolicyView(Struct, frozen=True):
    version: Version
    document: Annotated[Document, Meta(description="As it was written; what it leaves out has its default.")]
    updated_at: str | None
    updated_by: str | None


class NewPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[Version, Meta(description="Of the document that this one replaces.")]
    document: Document


class CheckPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    document: Document


class CheckedView(Struct, frozen=True):
    version: Annotated[Version, Meta(description="Of the document that it was compared with.")]
    limits: int
    models: int
    changes: PolicyChanges


class NewLimit(Struct, frozen=True, forbid_unknown_fields=True):
    limit: LimitDocument


class NamedLimit(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]


async def show_policy(call: Call) -> Response:
    return answer(_view(await policies.read(call.deps.stores.main)))


async def replace_policy(call: Call, body: NewPolicy) -> Response:
    row = await acts.change_policy(
        call.deps.stores, call.deps.clock, call.actor, body.document, expected_version=body.version
    )
    return answer(_view(row))


async def check_policy(call: Call, body: CheckPolicy) -> Response:
    policy = acts.checked(body.document)
    row = await policies.read(call.deps.stores.main)
    changes = changes_between(acts.document_of(row), body.document)
    return answer(CheckedView(row.version if row else 0, len(policy.limits), len(policy.models), changes))


async def put_limit(call: Call, body: NewLimit) -> Response:
    return answer(_view(await acts.put_limit(call.deps.stores, call.deps.clock, call.actor, body.limit)))


async def remove_limit(call: Call, query: NamedLimit) -> Response:
    return answer(_view(await acts.remove_limit(call.deps.stores, call.deps.clock, call.actor, query.name)))


def _view(row: PolicyRow | None) -> PolicyView:
    if row is None:
        return PolicyView(0, {}, None, None)
    return PolicyView(row.version, acts.document_of(row), rfc3339(row.updated_at_ms), row.updated_by)


_ALL = "/manage/policy"
_LIMITS = "/manage/policy/limits"

OPERATIONS = (
    Operation(method="GET", path=_ALL, summary="Show the policy document", act=show_policy, answer=PolicyView),
    Operation(
        method="PUT",
        path=_ALL,
        summary="Replace the policy document; workers follow within a second",
        act=replace_policy,
        body=NewPolicy,
        answer=PolicyView,
        scope="pipeline",
        audit_action=acts.UPDATE,
        errors=(409,),
    ),
    Operation(
        method="POST",
        path=f"{_ALL}/check",
        summary="Check a policy document and say what it would change; nothing is changed",
        act=check_policy,
        body=CheckPolicy,
        answer=CheckedView,
        scope="read",
    ),
    Operation(
        method="PUT",
        path=_LIMITS,
        summary="Put one limit into the policy, in the place of the one of its name",
        act=put_limit,
        body=NewLimit,
        answer=PolicyView,
        scope="pipeline",
        audit_action=acts.UPDATE,
    ),
    Operation(
        method="DELETE",
        path=_LIMITS,
        summary="Remove the limit of this name from the policy",
        act=remove_limit,
        query=NamedLimit,
        answer=PolicyView,
        scope="pipeline",
        audit_action=acts.UPDATE,
        errors=(404,),
    ),
)
