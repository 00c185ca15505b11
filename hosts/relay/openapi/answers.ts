import { REVOCATION_TYP } from "tallystick/chain/revocation";
import type { Code } from "tallystick/codes/codes";
import { FORK_TYPE } from "../routes/devices.js";
import { EVIDENCE_TYPE, RECORD_TYPE } from "../routes/records.js";
import { CBOR_SEQUENCE_TYPE, CBOR_TYPE } from "../routes/shapes.js";

/**
 * What each route answers beyond the shapes of its JSON: other types of bodies, and the codes of its problems. A test holds
 * the routes of this table against those that are registered.
 */
export interface Answers {
  /** Types of the body of a 200 that is no JSON, and where it is specified. */
  readonly types?: readonly string[];
  readonly specified?: string;
  readonly problems: readonly Code[];
}

/** What any request may come to. */
export const COMMON_PROBLEMS: readonly Code[] = [
  "REQUEST_MALFORMED",
  "REQUEST_SLOW",
  "MEDIA_TYPE_UNKNOWN",
  "RELAY_BUSY",
  "RELAY_STOPPING",
  "RELAY_FAULT",
  "STORE_FAILED",
  "STORE_CORRUPT",
];

const SYNC = "modules/sync/SPEC.md";
const CHAIN = "modules/chain/SPEC.md";
const TLOG = "C2SP tlog-tiles";
/** Of what is taken in: the log does not advance, or there is damage. */
const UNWELL: readonly Code[] = ["LOG_IO_FAILED", "LOG_TILE_CORRUPT", "LOG_LOCK_CORRUPT"];
const MESSAGE: readonly Code[] = ["MESSAGE_MALFORMED", "CBOR_INVALID", "BODY_TOO_LARGE", "RELAY_BEHIND"];
const RECORD: readonly Code[] = ["RECORD_MALFORMED", "RECORD_TOO_LARGE", "SIGNATURE_INVALID", "KEY_MISMATCH"];
const FOLLOWS: readonly Code[] = ["CHAIN_GAP", "CHAIN_FORK", "CHAIN_BROKEN", "CHAIN_CLOSED", "GAP_FALSE"];

/** Of the operator API, whatever is asked. */
const OPERATOR: readonly Code[] = [
  "OPERATOR_UNKNOWN",
  "OPERATOR_TOKEN_ENDED",
  "OPERATOR_ROLE_TOO_LOW",
  "ATTEMPTS_EXHAUSTED",
  "ROUTE_UNKNOWN",
  "REQUEST_BODY_INVALID",
];
const OF_TENANT: readonly Code[] = [...OPERATOR, "TENANT_UNKNOWN"];

export const ANSWERS: Readonly<Record<string, Answers>> = {
  "GET /v1/challenge": { types: [CBOR_TYPE], specified: SYNC, problems: [] },
  "POST /v1/devices": {
    types: [CBOR_TYPE],
    specified: SYNC,
    problems: [
      ...MESSAGE,
      ...RECORD,
      ...UNWELL,
      "TOKEN_INVALID",
      "POSSESSION_UNPROVED",
      "MAKER_UNKNOWN",
      "MAKER_FALSE",
      "MAKER_MALFORMED",
      "MAKER_MISMATCH",
      "OPEN_ENROLMENT_FULL",
      "SUCCESSION_FALSE",
      "ATTEMPTS_EXHAUSTED",
    ],
  },
  "POST /v1/devices/:kid/head": { types: [CBOR_TYPE], specified: SYNC, problems: [...MESSAGE, "DEVICE_UNKNOWN"] },
  "POST /v1/devices/:kid/records": {
    types: [CBOR_TYPE],
    specified: SYNC,
    problems: [...MESSAGE, ...RECORD, ...FOLLOWS, ...UNWELL, "DEVICE_UNKNOWN", "DEVICE_FORKED", "KEY_REVOKED"],
  },
  "POST /v1/devices/:kid/succession": {
    types: [CBOR_TYPE],
    specified: SYNC,
    problems: [
      ...MESSAGE,
      ...RECORD,
      ...UNWELL,
      "STATEMENT_MALFORMED",
      "DEVICE_UNKNOWN",
      "DEVICE_FORKED",
      "CHAIN_CLOSED",
      "KEY_REVOKED",
      "POSSESSION_UNPROVED",
      "SUCCESSION_FALSE",
      "SUCCESSION_KEY_TAKEN",
      "ATTEMPTS_EXHAUSTED",
    ],
  },
  "GET /v1/devices/:kid/records": {
    types: [CBOR_SEQUENCE_TYPE],
    specified: SYNC,
    problems: ["DEVICE_UNKNOWN", "RECORD_ERASED"],
  },
  "GET /v1/devices": { problems: [] },
  "GET /v1/devices/:kid": { problems: ["DEVICE_UNKNOWN"] },
  "GET /v1/devices/:kid/forks/:id": {
    types: [FORK_TYPE],
    specified: CHAIN,
    problems: ["DEVICE_UNKNOWN", "RECORD_UNKNOWN", "RECORD_ERASED"],
  },
  "GET /v1/devices/:kid/late": { types: [CBOR_SEQUENCE_TYPE], specified: SYNC, problems: ["DEVICE_UNKNOWN"] },
  "GET /v1/devices/:kid/revocation": {
    types: [REVOCATION_TYP],
    specified: CHAIN,
    problems: ["DEVICE_UNKNOWN", "REVOCATION_UNKNOWN"],
  },
  "POST /v1/devices/:kid/revocation": {
    types: [REVOCATION_TYP],
    specified: CHAIN,
    problems: [
      ...UNWELL,
      "DEVICE_UNKNOWN",
      "BODY_TOO_LARGE",
      "STATEMENT_MALFORMED",
      "REVOCATION_FALSE",
      "KEY_MISMATCH",
    ],
  },
  "GET /v1/records/:id": {
    types: [RECORD_TYPE],
    specified: "modules/record/SPEC.md",
    problems: ["RECORD_UNKNOWN", "RECORD_ERASED"],
  },
  "GET /v1/records/:id/receipt": {
    types: [RECORD_TYPE],
    specified: "modules/receipt/SPEC.md",
    problems: ["RECORD_UNKNOWN", "RECORD_NOT_LOGGED"],
  },
  "GET /v1/records/:id/evidence": {
    types: [EVIDENCE_TYPE],
    specified: "modules/evidence/SPEC.md",
    problems: ["RECORD_UNKNOWN", "RECORD_NOT_LOGGED", "RECORD_ERASED"],
  },
  "GET /checkpoint": { types: ["text/plain"], specified: TLOG, problems: ["LOG_ENTRY_UNKNOWN"] },
  "GET /tile/*": {
    types: ["application/octet-stream"],
    specified: TLOG,
    problems: ["LOG_ENTRY_UNKNOWN", "LOG_ENTRY_ERASED", "ROUTE_UNKNOWN"],
  },
  "GET /v1/relay": { problems: [] },
  "GET /v1/relay/keys": { types: [CBOR_SEQUENCE_TYPE], specified: SYNC, problems: [] },
  "GET /livez": { types: ["text/plain"], specified: "the line ok", problems: [] },
  "GET /readyz": { problems: [] },
  "GET /openapi.json": { problems: [] },
  "GET /v1/operator/self": { problems: OPERATOR },
  "GET /v1/operator/devices": { problems: OF_TENANT },
  "GET /v1/operator/devices/:kid": { problems: [...OPERATOR, "DEVICE_UNKNOWN"] },
  "POST /v1/operator/devices/:kid/decision": { problems: [...OPERATOR, "DEVICE_UNKNOWN", "BODY_TOO_LARGE"] },
  "POST /v1/operator/devices/:kid/revocation": {
    problems: [...OPERATOR, "DEVICE_UNKNOWN", "REVOCATION_FALSE", "BODY_TOO_LARGE"],
  },
  "GET /v1/operator/enrolment-tokens": { problems: OF_TENANT },
  "POST /v1/operator/enrolment-tokens": { problems: [...OF_TENANT, "OPERATOR_LIMIT_REACHED", "BODY_TOO_LARGE"] },
  "DELETE /v1/operator/enrolment-tokens/:id": {
    problems: [...OPERATOR, "ENROLMENT_TOKEN_UNKNOWN", "ENROLMENT_TOKEN_SPENT", "BODY_TOO_LARGE"],
  },
  "GET /v1/operator/tokens": { problems: OF_TENANT },
  "POST /v1/operator/tokens": { problems: [...OF_TENANT, "OPERATOR_LIMIT_REACHED", "BODY_TOO_LARGE"] },
  "DELETE /v1/operator/tokens/:id": { problems: [...OPERATOR, "OPERATOR_TOKEN_UNKNOWN", "BODY_TOO_LARGE"] },
  "GET /v1/operator/tenants": { problems: OPERATOR },
  "POST /v1/operator/tenants": {
    problems: [...OPERATOR, "TENANT_EXISTS", "TENANT_NAME_UNUSABLE", "OPERATOR_LIMIT_REACHED", "BODY_TOO_LARGE"],
  },
  "GET /v1/operator/audit": { problems: OF_TENANT },
};
