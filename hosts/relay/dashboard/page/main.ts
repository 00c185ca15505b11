import type { OperatorToken } from "./answers.js";
import { Api } from "./api.js";
import { auditView } from "./audit.js";
import { deviceView } from "./device.js";
import { devicesView } from "./devices.js";
import { el, fill, named } from "./dom.js";
import { enrolmentView, tokensView } from "./tokens.js";
import { problemText, type View, type Viewing } from "./view.js";

/**
 * The operators' page: who signs in with an operator token sees what it may see. Where one is is in the address behind #,
 * filters too, so that a bookmark is a saved filter; the token is not: it is in this tab's own store until it is closed.
 */

const TOKEN_ITEM = "tallystick-operator-token";
const REFRESH_MS = 10_000;
/** A look that takes long is not begun again at once: it has the relay for one part of so many. */
const REFRESH_REST = 10;

interface Place {
  readonly name: string;
  /** Undefined: whoever may look at all. */
  readonly role?: "admin";
  readonly view: (viewing: Viewing, rest: string) => View;
}

const PLACES: Readonly<Record<string, Place>> = {
  devices: {
    name: "Devices",
    view: (viewing, rest) => (rest === "" ? devicesView(viewing) : deviceView(viewing, rest)),
  },
  enrolment: { name: "Enrolment tokens", view: enrolmentView },
  tokens: { name: "Operator tokens", role: "admin", view: tokensView },
  audit: { name: "Changes", role: "admin", view: auditView },
};
const FIRST_PLACE = "devices";

const top = document.getElementById("top")!;
const status = document.getElementById("status")!;
const main = document.getElementById("main")!;

/** Ends what the place before it had under way. */
let leave = (): void => undefined;

void begin();

async function begin(): Promise<void> {
  const token = sessionStorage.getItem(TOKEN_ITEM);
  if (token === null) return askForToken();
  const api = new Api(token);
  const self = await api.get<OperatorToken>("self");
  if (!self.ok) {
    if (self.problem.status === 401) sessionStorage.removeItem(TOKEN_ITEM);
    return askForToken(problemText(self.problem));
  }
  signedIn(api, self.value);
}

function askForToken(why = ""): void {
  leave();
  fill(top, el("h1", {}, "Tallystick relay"));
  say(why);
  const field = el("input", {
    type: "password",
    name: "token",
    placeholder: "tsop_…",
    autocomplete: "off",
    required: true,
  });
  const form = el(
    "form",
    { class: "sign-in" },
    el("label", {}, "Operator token ", field),
    el("button", { type: "submit" }, "Sign in"),
    el("p", {}, "Whoever may write the relay's folder makes one: ", el("code", {}, "tallystick operator-token create")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN_ITEM, field.value.trim());
    void begin();
  });
  fill(main, form);
  field.focus();
}

function signedIn(api: Api, self: OperatorToken): void {
  const viewing: Viewing = { api, self, refresh: () => undefined };
  const show = (): void => {
    leave();
    const [place = "", ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0]!.split("/");
    const isPlace = Object.hasOwn(PLACES, place) && mayEnter(PLACES[place]!, self);
    const here = isPlace ? place : FIRST_PLACE;
    head(self, here);
    leave = keepUp(PLACES[here]!.view(viewing, isPlace ? rest.join("/") : ""), viewing);
  };
  window.addEventListener("hashchange", show);
  const stop = (): void => window.removeEventListener("hashchange", show);
  viewing.signOut = (why) => {
    sessionStorage.removeItem(TOKEN_ITEM);
    stop();
    askForToken(why);
  };
  show();
}

function mayEnter({ role }: Place, self: OperatorToken): boolean {
  return role === undefined || self.role === role;
}

function head(self: OperatorToken, here: string): void {
  const links = Object.entries(PLACES)
    .filter(([, place]) => mayEnter(place, self))
    .map(([path, { name }]) =>
      el("a", { href: `#/${path}`, ...(path === here && { "aria-current": "page" as const }) }, name),
    );
  const out = el("button", { type: "button", onclick: () => signOut() }, "Sign out");
  fill(
    top,
    el("h1", {}, "Tallystick relay"),
    el("nav", {}, ...links),
    el("p", { class: "self" }, named(self.label), ` · ${self.role} of ${self.tenant ?? "all tenants"} `, out),
  );
}

function signOut(): void {
  sessionStorage.removeItem(TOKEN_ITEM);
  location.hash = "";
  location.reload();
}

/** Shows a view, asks again while somebody may be looking, and answers what ends that. */
function keepUp(view: View, viewing: Viewing): () => void {
  let isOver = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking: Promise<void> | undefined;
  fill(main, view.element);
  const look = (): void => {
    if (isOver || asking) return;
    clearTimeout(timer);
    const beganMs = performance.now();
    asking = view.load().then((problem) => {
      asking = undefined;
      if (isOver) return;
      if (problem?.status === 401) return viewing.signOut?.(problemText(problem));
      say(problem ? problemText(problem) : "");
      main.classList.toggle("stale", problem !== undefined);
      if (view.once && !problem) return;
      timer = setTimeout(look, Math.max(REFRESH_MS, (performance.now() - beganMs) * REFRESH_REST));
    });
  };
  const onVisible = (): void => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") look();
  };
  document.addEventListener("visibilitychange", onVisible);
  viewing.refresh = look;
  look();
  return () => {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisible);
  };
}

function say(text: string): void {
  fill(status, text);
}
