import { visible } from "tallystick/bytes/visible";
import type { EnrolmentToken, OperatorToken, Problem } from "./answers.js";
import { el, fill, named, table } from "./dom.js";
import { duration, utc } from "./times.js";
import { allOf, confirm, mayAct, problemText, settled, type View, type Viewing } from "./view.js";

/** Tokens by which devices come, and those by which operators do. */

const TOKENS_MAX = 5000;
const MORE = "There are more than these; the operator API has them all, page by page.";

export function enrolmentView(viewing: Viewing): View {
  const { api } = viewing;
  const rows = el("div", {});
  const made = el("div", { class: "made" });
  const problem = el("p", { class: "problem" });
  const button = el("button", { type: "button", onclick: () => void make() }, "Make one");

  /** A token that came of a second click would let a device in, and nobody would have seen it. */
  async function make(): Promise<void> {
    button.disabled = true;
    const inTheWay = await settled(makeOne());
    button.disabled = false;
    fill(problem, inTheWay && problemText(inTheWay));
  }

  async function makeOne(): Promise<Problem | undefined> {
    const answer = await api.post<{ token: string; tenant: string; expires_at_ms: number }>("enrolment-tokens", {});
    if (!answer.ok) return answer.problem;
    const { token, tenant, expires_at_ms } = answer.value;
    const copy = el("button", { type: "button", onclick: () => void navigator.clipboard.writeText(token) }, "Copy");
    fill(
      made,
      el("p", {}, `For one device of the tenant ${tenant}, once, until ${utc(expires_at_ms)}; it is not shown again: `),
      el("code", {}, token),
      " ",
      copy,
    );
    viewing.refresh();
    return undefined;
  }

  function withdraw({ id }: EnrolmentToken): void {
    confirm(
      { title: `Withdraw ${short(id)}`, does: "No device is let in by it any more.", yes: "Withdraw" },
      async () => {
        const answer = await api.delete<EnrolmentToken>(`enrolment-tokens/${id}`);
        if (!answer.ok) return answer.problem;
        viewing.refresh();
        return undefined;
      },
    );
  }

  return {
    element: el(
      "section",
      {},
      el("h2", {}, "Enrolment tokens"),
      mayAct(viewing) && el("p", {}, button),
      problem,
      made,
      rows,
    ),
    load: async () => {
      const answer = await allOf<EnrolmentToken>(api, "enrolment-tokens", "tokens", TOKENS_MAX);
      if (!answer.ok) return answer.problem;
      const { found, more } = answer.value;
      const newest = found.toSorted((a, b) => b.made_at_ms - a.made_at_ms);
      fill(
        rows,
        table(
          ["Token", "State", "Tenant", "Made", "Until", "Used by", ""],
          newest.map((token) => [
            el("code", { title: token.id }, short(token.id)),
            token.state,
            token.tenant,
            utc(token.made_at_ms),
            utc(token.expires_at_ms),
            token.used_by !== undefined && el("a", { href: `#/devices/${token.used_by}`, class: "kid" }, token.used_by),
            token.state === "free" &&
              mayAct(viewing) &&
              el(
                "button",
                { type: "button", "aria-label": `Withdraw ${short(token.id)}`, onclick: () => withdraw(token) },
                "Withdraw",
              ),
          ]),
          "None was made yet.",
        ),
        more && el("p", {}, MORE),
      );
      return undefined;
    },
  };
}

export function tokensView(viewing: Viewing): View {
  const { api, self } = viewing;
  const rows = el("div", {});

  function revoke({ id, label }: OperatorToken): void {
    confirm(
      {
        title: `Revoke the token ${id}`,
        does: `“${visible(label)}” counts no more from its next request on.`,
        yes: "Revoke",
      },
      async () => {
        const answer = await api.delete<{ made: readonly string[] }>(`tokens/${id}`);
        if (!answer.ok) return answer.problem;
        viewing.refresh();
        if (answer.value.made.length > 0) askForMade(id, answer.value.made);
        return undefined;
      },
    );
  }

  /** Whoever had a token of an admin's in his hands may have made others by it. */
  function askForMade(id: string, made: readonly string[]): void {
    const count = made.length === 1 ? "another token that counts" : `${made.length} other tokens that count`;
    confirm(
      {
        title: `It had made ${count} still`,
        does: `${made.join(", ")}: made by ${id}, itself or through others.`,
        yes: "Revoke them, too",
      },
      async () => {
        const answer = await api.delete<OperatorToken>(`tokens/${id}?with_made=true`);
        if (!answer.ok) return answer.problem;
        viewing.refresh();
        return undefined;
      },
    );
  }

  function stateOf({ revoked_at_ms, expires_at_ms }: OperatorToken): string {
    if (revoked_at_ms !== undefined) return "revoked";
    const leftMs = expires_at_ms - api.nowMs();
    return leftMs <= 0 ? "expired" : `${duration(leftMs)} left`;
  }

  return {
    element: el("section", {}, el("h2", {}, "Operator tokens"), rows),
    load: async () => {
      const answer = await allOf<OperatorToken>(api, "tokens", "tokens", TOKENS_MAX);
      if (!answer.ok) return answer.problem;
      const { found, more } = answer.value;
      fill(
        rows,
        table(
          ["Label", "Id", "Role", "Tenant", "State", "Made by", "Used", ""],
          found.map((token) => [
            named(token.label),
            el("code", {}, token.id),
            token.role,
            token.tenant ?? "all",
            stateOf(token),
            el("code", {}, token.made_by),
            token.used_at_ms === undefined ? "never" : utc(token.used_at_ms),
            token.revoked_at_ms === undefined &&
              token.id !== self.id &&
              el(
                "button",
                { type: "button", "aria-label": `Revoke ${token.id}`, onclick: () => revoke(token) },
                "Revoke",
              ),
          ]),
          "None.",
        ),
        more && el("p", {}, MORE),
      );
      return undefined;
    },
  };
}

/** As much of an enrolment token's id, its hash, as tells it from others. */
function short(id: string): string {
  return `${id.slice(0, SHORT_DIGITS)}…`;
}

const SHORT_DIGITS = 8;
