import type { Device } from "./answers.js";
import {
  CONDITIONS,
  type Condition,
  conditionOf,
  type Filter,
  MEANING,
  matches,
  stepOf,
  worstFirst,
} from "./condition.js";
import { type Child, el, fill, named, table } from "./dom.js";
import { duration, utc } from "./times.js";
import { allOf, type View, type Viewing } from "./view.js";

/** The fleet, worst first: what needs somebody is on top, whatever there is below it. */

const DEVICES_MAX = 20_000;
/** Rows that are drawn; a filter brings the others up. */
const ROWS_MAX = 500;

export function devicesView(viewing: Viewing): View {
  let devices: readonly Device[] = [];
  let isWhole = true;
  let filter = filterOf(location.hash);
  const counts = el("p", { class: "counts" });
  const rows = el("div", {}, el("p", { class: "empty" }, "Asking…"));
  const search = el("input", {
    type: "search",
    name: "filter",
    placeholder: "kid, model or tenant",
    "aria-label": "Devices of which kid, model or tenant",
    value: filter.text,
    oninput: (text) => narrow({ ...filter, text }),
  });

  function narrow(to: Filter): void {
    filter = to;
    // In place: a letter more is no step to go back to.
    history.replaceState(null, "", hashOf(filter));
    draw();
  }

  function draw(): void {
    const count = new Map<Condition, number>();
    for (const device of devices) count.set(conditionOf(device), (count.get(conditionOf(device)) ?? 0) + 1);
    fill(
      counts,
      chip("all", devices.length, filter.condition === undefined, () => narrow({ ...filter, condition: undefined })),
      ...CONDITIONS.filter((each) => count.has(each) || each === filter.condition).map((each) =>
        chip(each, count.get(each) ?? 0, filter.condition === each, () => narrow({ ...filter, condition: each })),
      ),
    );
    const found = worstFirst(devices.filter((device) => matches(device, filter)));
    const columns = ["State", "Device", "Model", "Tenant", "Newest record", "Heard", "Come to"];
    fill(
      rows,
      table(
        columns,
        found.slice(0, ROWS_MAX).map((device) => rowOf(device, viewing.api.nowMs())),
        devices.length === 0 ? NONE : "None of them is so.",
      ),
      found.length > ROWS_MAX && el("p", {}, `${found.length - ROWS_MAX} more: a filter brings them up.`),
      !isWhole && el("p", {}, `There are more than ${devices.length} devices; the others are not looked at here.`),
    );
  }

  return {
    element: el("section", {}, el("div", { class: "bar" }, search, counts), rows),
    load: async () => {
      const answer = await allOf<Device>(viewing.api, "devices", "devices", DEVICES_MAX, (count) => {
        if (devices.length === 0) fill(rows, el("p", { class: "empty" }, `${count} devices so far…`));
      });
      if (!answer.ok) return answer.problem;
      devices = answer.value.found;
      isWhole = !answer.value.more;
      draw();
      return undefined;
    },
  };
}

const NONE = "No device is enrolled yet: make an enrolment token, and give it to one.";

function rowOf(device: Device, nowMs: number): Child[] {
  const condition = conditionOf(device);
  const { kid, model, tenant, seq, heard_at_ms } = device;
  return [
    badge(condition),
    el("a", { href: `#/devices/${kid}`, class: "kid" }, kid),
    named(model),
    tenant,
    seq,
    el(
      "time",
      { datetime: new Date(heard_at_ms).toISOString(), title: utc(heard_at_ms) },
      `${duration(nowMs - heard_at_ms)} ago`,
    ),
    stepOf(device),
  ];
}

export function badge(condition: Condition): HTMLElement {
  return el("span", { class: `badge ${condition}`, title: MEANING[condition] }, condition);
}

function chip(name: string, count: number, isOn: boolean, onclick: () => void): HTMLElement {
  return el("button", { type: "button", class: isOn ? "chip on" : "chip", onclick }, `${name} ${count}`);
}

function filterOf(hash: string): Filter {
  const query = new URLSearchParams(hash.split("?")[1] ?? "");
  const condition = CONDITIONS.find((each) => each === query.get("state"));
  return { text: query.get("q") ?? "", condition };
}

function hashOf({ text, condition }: Filter): string {
  const query = new URLSearchParams({ ...(text && { q: text }), ...(condition && { state: condition }) }).toString();
  return `#/devices${query && `?${query}`}`;
}
