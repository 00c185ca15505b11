import type { OperatorToken, Problem } from "./answers.js";
import type { Answer, Api } from "./api.js";
import { el, fill } from "./dom.js";

/** What a view is, and what several of them do. */

export interface View {
  readonly element: HTMLElement;
  /** Asks and shows; answers what was in the way, and then what was shown before stays. */
  readonly load: () => Promise<Problem | undefined>;
  /** It is not asked again by itself. */
  readonly once?: boolean;
}

/** On whose word, and how a view has itself looked at again. */
export interface Viewing {
  readonly api: Api;
  readonly self: OperatorToken;
  refresh: () => void;
  signOut?: (why: string) => void;
}

export function mayAct({ self }: Viewing): boolean {
  return self.role !== "viewer";
}

export function problemText({ code, title, detail, todo }: Problem): string {
  return `${code}: ${title}: ${detail}; ${todo}`;
}

export interface Pages<T> {
  readonly found: readonly T[];
  /** There are more than were asked for. */
  readonly more: boolean;
}

const PAGE_MAX = 1000;

/** All of a list, up to `pagesMax` pages of PAGE_MAX. */
export async function allOf<T>(api: Api, path: string, member: string, pagesMax: number): Promise<Answer<Pages<T>>> {
  const found: T[] = [];
  let after = "";
  for (let page = 0; page < pagesMax; page++) {
    const answer = await api.get<Record<string, unknown>>(`${path}?limit=${PAGE_MAX}${after && `&after=${after}`}`);
    if (!answer.ok) return answer;
    found.push(...(answer.value[member] as T[]));
    const { next } = answer.value;
    if (next === undefined) return { ok: true, value: { found, more: false } };
    after = String(next);
  }
  return { ok: true, value: { found, more: true } };
}

/** Asks before something is done, in words that say what it does; says what was in the way. */
export function confirm(
  words: { readonly title: string; readonly does: string; readonly yes: string },
  act: () => Promise<Problem | undefined>,
  fields: readonly HTMLElement[] = [],
): void {
  const said = el("p", { class: "problem" });
  const yes = el("button", { type: "submit", class: "yes" }, words.yes);
  const form = el(
    "form",
    {},
    el("h2", {}, words.title),
    el("p", {}, words.does),
    ...fields,
    said,
    el("menu", {}, el("button", { type: "button", onclick: () => dialog.close() }, "Leave it"), yes),
  );
  const dialog = el("dialog", {}, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    yes.disabled = true;
    void act().then((problem) => {
      yes.disabled = false;
      if (problem) fill(said, problemText(problem));
      else dialog.close();
    });
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
