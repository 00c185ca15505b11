import type { Device, Problem } from "./answers.js";
import type { Answer } from "./api.js";
import { conditionOf, MEANING, STEPS } from "./condition.js";
import { badge } from "./devices.js";
import { type Child, el, fill, named, table } from "./dom.js";
import { duration, utc } from "./times.js";
import { confirm, mayAct, type View, type Viewing } from "./view.js";

/** One device: who it is, how far its chain has come, what is against it, and what can be decided. */

const KID = /^[0-9a-f]{16}$/;
/** Characters; the relay counts bytes, and says so. */
const REASON_MAX = 64;

export function deviceView(viewing: Viewing, kid: string): View {
  const element = el("section", {});
  // What is no kid asks for nothing: it would be a part of an address.
  if (!KID.test(kid)) {
    fill(element, el("p", {}, "No device has a name like this: a kid has 16 hexadecimal digits."));
    return { element, once: true, load: async () => undefined };
  }
  const show = (device: Device): void => fill(element, ...partsOf(viewing, device, decided));
  /** Raised with each decision: a look that began before it has not seen it. */
  let decisions = 0;
  const decided = (answer: Answer<Device>): Problem | undefined => {
    if (!answer.ok) return answer.problem;
    decisions++;
    show(answer.value);
    return undefined;
  };
  return {
    element,
    load: async () => {
      const before = decisions;
      const answer = await viewing.api.get<Device>(`devices/${kid}`);
      if (!answer.ok) return answer.problem;
      if (decisions === before) show(answer.value);
      return undefined;
    },
  };
}

type Decided = (answer: Answer<Device>) => Problem | undefined;

function partsOf(viewing: Viewing, device: Device, decided: Decided): Child[] {
  const condition = conditionOf(device);
  return [
    el("h2", {}, "Device ", el("span", { class: "kid" }, device.kid), " ", badge(condition)),
    el("p", {}, MEANING[condition]),
    factsOf(device, viewing.api.nowMs()),
    mayAct(viewing) && actionsOf(viewing, device, decided),
    el("h3", {}, "How far its chain has come"),
    table(
      ["Step", "Position", "Records", "Since", ""],
      STEPS.map((step) => stepRow(device, step)),
      "",
    ),
    device.forks.length > 0 && el("h3", {}, "Forks"),
    device.forks.length > 0 &&
      table(
        ["Position", "Record that is held", "Record that was received"],
        device.forks.map(({ seq, held, received }) => [seq, held === undefined ? "none" : id(held), id(received)]),
        "",
      ),
    el("h3", {}, "Decisions"),
    table(
      ["When", "What"],
      device.decisions.map(({ what, at_ms }) => [utc(at_ms), what]),
      "None.",
    ),
  ];
}

function factsOf(device: Device, nowMs: number): HTMLElement {
  const { did, print, model, tenant, enrolled_at_ms, heard_at_ms, mark_interval_s, missing } = device;
  const facts: [string, Child][] = [
    ["Key", el("code", {}, did)],
    ["Print, to compare by eye", el("code", {}, print)],
    ["Model", named(model)],
    ["Tenant", tenant],
    ["Enrolled", utc(enrolled_at_ms)],
    ["Heard", `${utc(heard_at_ms)}, ${duration(nowMs - heard_at_ms)} ago`],
    ["Announces to be heard", `every ${duration(mark_interval_s * 1000)}`],
    ["Missing positions", missing],
  ];
  if (device.held_since_ms !== undefined) facts.push(["Held back since", utc(device.held_since_ms)]);
  if (device.revoked_from !== undefined) facts.push(["Revoked", `from position ${device.revoked_from} on`]);
  return el("dl", {}, ...facts.flatMap(([name, fact]) => [el("dt", {}, name), el("dd", {}, fact)]));
}

function stepRow(device: Device, step: (typeof STEPS)[number]): Child[] {
  const level = device[step];
  if (!level) return [step, "—", "—", "—", "nothing yet"];
  const behind = device.seq - level.seq;
  return [step, level.seq, level.count, utc(level.at_ms), behind === 0 ? "all" : `${behind} behind the newest`];
}

function actionsOf({ api }: Viewing, device: Device, decided: Decided): HTMLElement {
  const { kid } = device;
  const decide = async (what: "hold" | "continue") =>
    decided(await api.post<Device>(`devices/${kid}/decision`, { what }));
  const isStopped = device.held_since_ms !== undefined;
  const go = el(
    "button",
    { type: "button", onclick: () => confirm(goWords(device), () => decide("continue")) },
    "Let it go on",
  );
  const hold = el(
    "button",
    { type: "button", onclick: () => confirm(holdWords(kid), () => decide("hold")) },
    "Hold back",
  );
  const revoke = el("button", { type: "button", class: "grave", onclick: () => askToRevoke() }, "Revoke");
  function askToRevoke(): void {
    const from = el("input", { type: "number", name: "from", min: 0, required: true, value: String(device.seq + 1) });
    const reason = el("input", { type: "text", name: "reason", maxlength: REASON_MAX });
    const fields = [el("label", {}, "From position ", from), el("label", {}, "Reason, signed and public ", reason)];
    confirm(
      { title: `Revoke ${kid}`, does: REVOKES, yes: "Revoke for good" },
      async () => {
        const body = { from_seq: Number(from.value), ...(reason.value && { reason: reason.value }) };
        return decided(await api.post<Device>(`devices/${kid}/revocation`, body));
      },
      fields,
    );
  }
  return el("p", { class: "actions" }, isStopped ? go : hold, device.revoked_from === undefined && revoke);
}

const REVOKES =
  "No record from this position on counts for anybody any more, those that are held included. It cannot be taken back.";

function goWords({ kid, forks, state }: Device) {
  const branch =
    state === "forked" ? `Of its ${forks.length === 1 ? "fork" : "forks"} the branch that is held goes on. ` : "";
  return { title: `Let ${kid} go on`, does: `${branch}What it sends from now on is taken.`, yes: "Let it go on" };
}

function holdWords(kid: string) {
  return {
    title: `Hold ${kid} back`,
    does: "Nothing of its key is taken until it is let go on; it keeps its records.",
    yes: "Hold back",
  };
}

function id(hex: string): HTMLElement {
  return el("code", {}, hex);
}
