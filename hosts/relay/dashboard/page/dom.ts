import { visible } from "tallystick/bytes/visible";

/** Elements and text nodes: the one place that makes any. No string ever becomes markup. */

export type Child = Node | string | number | undefined | false;

interface Attributes {
  readonly class?: string;
  readonly id?: string;
  readonly title?: string;
  /** Within the page. */
  readonly href?: `#${string}`;
  readonly type?: string;
  readonly name?: string;
  readonly value?: string;
  readonly placeholder?: string;
  readonly pattern?: string;
  readonly autocomplete?: "off";
  readonly maxlength?: number;
  readonly min?: number;
  readonly datetime?: string;
  readonly scope?: "col" | "row";
  readonly "aria-current"?: "page";
  readonly "aria-label"?: string;
  readonly required?: boolean;
  readonly onclick?: () => void;
  readonly oninput?: (value: string) => void;
}

export function el<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  const { onclick, oninput, ...rest } = attributes;
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : String(value));
  }
  if (onclick) made.addEventListener("click", onclick);
  if (oninput) made.addEventListener("input", () => oninput((made as unknown as HTMLInputElement).value));
  made.append(...shown(children));
  return made;
}

/** What a stranger or another program has named: apart from the text around it, whatever direction it is written in. */
export function named(text: string, max = NAMED_MAX): HTMLElement {
  const isCut = text.length > max;
  return el(
    "bdi",
    { class: "named", ...(isCut && { title: visible(text) }) },
    visible(text.slice(0, max)),
    isCut && "…",
  );
}

/** Characters of a name that are shown before the rest is a tooltip. */
const NAMED_MAX = 120;

/** Puts these in the place of what was there; who had come to a link or button by keys is at the same one again. */
export function fill(parent: Element, ...children: readonly Child[]): void {
  const focused = parent.contains(document.activeElement) ? nameOf(document.activeElement!) : undefined;
  parent.replaceChildren(...shown(children));
  if (focused === undefined) return;
  const links = [...parent.querySelectorAll<HTMLElement>("a, button")];
  links.find((each) => nameOf(each) === focused)?.focus();
}

function nameOf(element: Element): string {
  return `${element.getAttribute("href") ?? ""} ${element.getAttribute("aria-label") ?? element.textContent}`;
}

function shown(children: readonly Child[]): (Node | string)[] {
  return children.flatMap((child) => {
    if (child === undefined || child === false) return [];
    return [typeof child === "number" ? String(child) : child];
  });
}

/** A table with a head; `empty` stands where there are no rows. */
export function table(columns: readonly string[], rows: readonly (readonly Child[])[], empty: string): HTMLElement {
  if (rows.length === 0) return el("p", { class: "empty" }, empty);
  return el(
    "div",
    { class: "wide" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))))),
    ),
  );
}
