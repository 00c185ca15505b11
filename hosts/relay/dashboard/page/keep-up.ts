import { fill } from "./dom.js";
import { clock } from "./times.js";
import { problemText, settled, type View, type Viewing } from "./view.js";

/** Keeps a view up while somebody may be looking: what is shown says of when it is, and what was in the way. */

const REFRESH_MS = 10_000;
/** A look that takes long is not begun again at once: it has the relay for one part of so many. */
const REFRESH_REST = 10;
/** How often a look is put off since something is marked: for a minute. */
const MARKED_DELAYS_MAX = 6;

export interface Places {
  readonly main: HTMLElement;
  readonly status: HTMLElement;
  readonly asOf: HTMLElement;
}

/** Shows the view until what it answers is called. */
export function keepUp(view: View, viewing: Viewing, { main, status, asOf }: Places): () => void {
  let isOver = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isAsking = false;
  /** Something was changed since the look under way began: it may not have seen it. */
  let again = false;
  let delays = 0;
  fill(main, view.element);
  main.classList.remove("stale");

  async function look(): Promise<void> {
    clearTimeout(timer);
    again = isAsking;
    if (isOver || isAsking) return;
    isAsking = true;
    const beganMs = performance.now();
    const problem = await settled(view.load());
    isAsking = false;
    if (isOver) return;
    if (problem?.status === 401) return viewing.signOut?.(problemText(problem));
    fill(status, problem && problemText(problem));
    main.classList.toggle("stale", problem !== undefined);
    if (!problem) fill(asOf, `as of ${clock(viewing.api.nowMs())} UTC`);
    if (again) return look();
    if (!view.once || problem) wait(Math.max(REFRESH_MS, (performance.now() - beganMs) * REFRESH_REST));
  }

  function wait(delayMs: number): void {
    if (document.visibilityState !== "visible") return;
    timer = setTimeout(() => {
      // Rows that are drawn anew take away what is marked in them, such as a kid that is about to be copied.
      const isMarked = getSelection()?.isCollapsed === false && main.contains(getSelection()!.anchorNode);
      if (isMarked && delays++ < MARKED_DELAYS_MAX) return wait(REFRESH_MS);
      delays = 0;
      void look();
    }, delayMs);
  }

  function onVisible(): void {
    clearTimeout(timer);
    if (document.visibilityState === "visible" && !(view.once && asOf.hasChildNodes())) void look();
  }

  document.addEventListener("visibilitychange", onVisible);
  viewing.refresh = () => void look();
  void look();
  return () => {
    isOver = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisible);
  };
}
