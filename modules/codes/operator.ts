import { entry } from "./entry.js";

/** Codes of what operators do, by commands or over HTTP; part of the one table. */
export const OPERATOR_CODES = Object.freeze({
  OPERATOR_UNKNOWN: entry(
    401,
    "the request comes on no operator's word",
    "send the token that tallystick operator-token create printed, as Authorization: Bearer tsop_…",
  ),
  OPERATOR_TOKEN_ENDED: entry(
    401,
    "the operator token does not count any more",
    "have another made by an admin, or beside the relay: tallystick operator-token create",
  ),
  OPERATOR_ROLE_TOO_LOW: entry(
    403,
    "the operator token may not do this",
    "use one of the role that is named; nothing was changed",
  ),
  OPERATOR_TOKEN_UNKNOWN: entry(
    404,
    "no operator token has this id here",
    "list them: tallystick operator-token list; the id stands between the token's underscores",
  ),
  OPERATOR_LIMIT_REACHED: entry(
    409,
    "there are as many as may be",
    "revoke or end those that nobody needs, or let them expire",
  ),
  ENROLMENT_TOKEN_UNKNOWN: entry(
    404,
    "no enrolment token has this id here",
    "list them; the id is the SHA-256 of the token's text",
  ),
  ENROLMENT_TOKEN_SPENT: entry(
    409,
    "the enrolment token has let its device in already",
    "nothing: it lets nobody else in; to stop the device, hold or revoke its key",
  ),
  TENANT_UNKNOWN: entry(404, "no tenant has this name here", "list them: tallystick tenant list; or make it first"),
  TENANT_EXISTS: entry(409, "there is a tenant of this name already", "choose another name, or use that tenant"),
  TENANT_NAME_UNUSABLE: entry(
    400,
    "a tenant cannot have this name",
    "use 1 to 63 of a to z, 0 to 9 and -, neither first nor last a -",
  ),
});
