import type { OperatorToken, Problem } from "./answers.js";
import { type Answer, type Api, away } from "./api.js";
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

/** Small, since devices wait while the relay puts one together. */
const PAGE_MAX = 100;

/** All of a list, up to `max`, a page at a time; `onPage` hears of how many there are by then. */
export async function allOf<T>(
  api: Api,
  path: string,
  member: string,
  max: number,
  onPage: (count: number) => void = () => undefined,
): Promise<Answer<Pages<T>>> {
  const found: T[] = [];
  let after = "";
  while (found.length < max) {
    const answer = await api.get<Record<string, unknown>>(`${path}?limit=${PAGE_MAX}${after && `&after=${after}`}`);
    if (!answer.ok) return answer;
    const { [member]: page, next } = answer.value;
    if (!Array.isArray(page) || (page.length === 0 && next !== undefined))
      return { ok: false, problem: away(new Error(`a list without ${member}`)) };
    found.push(...page);
    onPage(found.length);
    if (next === undefined) return { ok: true, value: { found, more: false } };
    after = encodeURIComponent(String(next));
  }
  return { ok: true, value: { found, more: true } };
}

/** What was in the way; of an answer that is not of the relay's shape, too. */
export function settled(asked: Promise<Problem | undefined>): Promise<Problem | undefined> {
  return asked.catch((error) => away(error as Error));
}

/** Asks before something is done, in words that say what it does; says what was in the way. */
export function confirm(
  words: { readonly title: string; readonly does: string; readonly yes: string },
  act: () => Promise<Problem | undefined>,
  fields: readonly HTMLElement[] = [],
): void {
  const said = el("p", { class: "problem" });
  const yes = el("button", { type: "submit", class: "yes" }, words.yes);
  const no = el("button", { type: "button", onclick: () => dialog.close() }, "Leave it");
  const form = el(
    "form",
    {},
    el("h2", {}, words.title),
    el("p", {}, words.does),
    ...fields,
    said,
    el("menu", {}, no, yes),
  );
  const dialog = el("dialog", {}, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    yes.disabled = no.disabled = true;
    void settled(act()).then((problem) => {
      yes.disabled = no.disabled = false;
      if (problem) fill(said, problemText(problem));
      else dialog.close();
    });
  });
  // What is under way cannot be left any more, and what comes of it is to be seen.
  dialog.addEventListener("cancel", (event) => {
    if (no.disabled) event.preventDefault();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
