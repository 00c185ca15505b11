import type { Change } from "./answers.js";
import { el, fill, named, table } from "./dom.js";
import { utc } from "./times.js";
import { problemText, settled, type View, type Viewing } from "./view.js";

/** What was changed by whom, the newest first, a page at a time. */

const PAGE = 100;
const DETAIL_MAX = 400;
/** A kid, or as much of another name. */
const ABOUT_MAX = 16;

export function auditView({ api }: Viewing): View {
  const rows = el("div", {});
  const older = el("button", { type: "button", onclick: () => void more() }, "Older");
  const problem = el("p", { class: "problem" });
  let changes: readonly Change[] = [];
  let next: number | undefined;

  async function load(after?: number) {
    const path = `audit?limit=${PAGE}${after === undefined ? "" : `&after=${after}`}`;
    const answer = await api.get<{ changes: readonly Change[]; next?: number }>(path);
    if (!answer.ok) return answer.problem;
    changes = after === undefined ? answer.value.changes : [...changes, ...answer.value.changes];
    next = answer.value.next;
    fill(rows, table(["When", "Who", "What", "About", "Tenant", "Detail"], changes.map(rowOf), "Nothing yet."));
    older.hidden = next === undefined;
    return undefined;
  }

  async function more(): Promise<void> {
    if (next === undefined) return;
    older.disabled = true;
    const inTheWay = await settled(load(next));
    older.disabled = false;
    fill(problem, inTheWay && problemText(inTheWay));
  }

  // Not again by itself: that would take away what was gone back to.
  return { element: el("section", {}, el("h2", {}, "Changes"), rows, problem, older), once: true, load: () => load() };
}

function rowOf({ at_ms, who, what, about, tenant, detail }: Change) {
  const said = Object.entries(detail).map(
    ([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return [
    utc(at_ms),
    el("code", {}, who),
    what,
    el("code", { title: about }, about.length > ABOUT_MAX ? `${about.slice(0, ABOUT_MAX)}…` : about),
    tenant ?? "",
    named(said.join(", "), DETAIL_MAX),
  ];
}
