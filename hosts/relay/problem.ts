import { CODES, type Code, explain, type Failure } from "tallystick/codes/codes";

/** Errors as the relay answers them: RFC 9457 problem documents whose `code` is from modules/codes. */

export const PROBLEM_TYPE = "application/problem+json";

/** Members that say more about one kind of failure: `held` and `received` of a fork, `expected_seq` of a gap. */
export type ProblemMembers = Readonly<Record<string, string | number>>;

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: Code;
  readonly detail: string;
  readonly todo: string;
}

/** A failure with what else the sender is told, and after how many seconds to come again. */
export interface Refusal {
  readonly failure: Failure;
  readonly members?: ProblemMembers;
  readonly retryAfterS?: number;
}

export function problemOf({ failure, members }: Refusal): Problem {
  const { status, means, todo } = CODES[failure.code];
  return {
    // RFC 9457 §4.2.1: the title says what the status cannot; `code` is what programs look at.
    type: "about:blank",
    title: means,
    status,
    code: failure.code,
    detail: failure.detail,
    todo,
    ...members,
  };
}

/** A refusal on its way through code that can only throw. */
export class Refused extends Error {
  override readonly name = "Refused";

  constructor(readonly refusal: Refusal) {
    super(explain(refusal.failure));
  }
}
