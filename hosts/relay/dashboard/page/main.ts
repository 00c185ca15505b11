import type { OperatorToken } from "./answers.js";
import { Api } from "./api.js";
import { auditView } from "./audit.js";
import { deviceView } from "./device.js";
import { devicesView } from "./devices.js";
import { el, fill, named } from "./dom.js";
import { keepUp } from "./keep-up.js";
import { enrolmentView, tokensView } from "./tokens.js";
import { problemText, type View, type Viewing } from "./view.js";

/**
 * The operators' page: who signs in with an operator token sees what it may see. Where one is is in the address behind #,
 * filters too, so that a bookmark is a saved filter; the token is not: it is in this tab's own store until it is closed.
 */

const TOKEN_ITEM = "tallystick-operator-token";

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
/** After which a relay that is away is asked again for who is signed in. */
const AGAIN_MS = 5000;

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
  if (!self.ok && self.problem.status < 500) {
    sessionStorage.removeItem(TOKEN_ITEM);
    return askForToken(problemText(self.problem));
  }
  if (!self.ok) {
    fill(top, el("h1", {}, "Tallystick relay"));
    fill(status, problemText(self.problem));
    setTimeout(() => void begin(), AGAIN_MS);
    return;
  }
  signedIn(api, self.value);
}

function askForToken(why = ""): void {
  leave();
  closeDialogs();
  fill(top, el("h1", {}, "Tallystick relay"));
  fill(status, why);
  const field = el("input", {
    type: "password",
    name: "token",
    placeholder: "tsop_…",
    // What is none of these cannot even be sent as a header.
    pattern: "\\s*tsop_[!-~]+\\s*",
    title: "tsop_ and what follows it, as it was shown once",
    autocomplete: "off",
    required: true,
  });
  const enter = el("button", { type: "submit" }, "Sign in");
  const form = el(
    "form",
    { class: "sign-in" },
    el("label", {}, "Operator token ", field),
    enter,
    el("p", {}, "Whoever may write the relay's folder makes one: ", el("code", {}, "tallystick operator-token create")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enter.disabled = true;
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
    closeDialogs();
    const [place = "", ...rest] = location.hash.replace(/^#\/?/, "").split("?")[0]!.split("/");
    const isPlace = Object.hasOwn(PLACES, place) && mayEnter(PLACES[place]!, self);
    const here = isPlace ? place : FIRST_PLACE;
    const asOf = el("span", { class: "as-of" });
    head(self, here, asOf);
    leave = keepUp(PLACES[here]!.view(viewing, isPlace ? rest.join("/") : ""), viewing, { main, status, asOf });
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

/** A question is about what was shown when it was asked. */
function closeDialogs(): void {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

function mayEnter({ role }: Place, self: OperatorToken): boolean {
  return role === undefined || self.role === role;
}

function head(self: OperatorToken, here: string, asOf: HTMLElement): void {
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
    el("p", { class: "self" }, asOf, named(self.label), ` · ${self.role} of ${self.tenant ?? "all tenants"} `, out),
  );
}

function signOut(): void {
  sessionStorage.removeItem(TOKEN_ITEM);
  location.hash = "";
  location.reload();
}
