import {
  HttpNetwork,
  type Network,
  type NetworkAnswer,
  type NetworkRequest,
} from "../../../hosts/simulator/world/network.js";
import type { SeededRandom } from "../../../hosts/simulator/world/random.js";

/** What becomes of one request on its way to the relay, and of the answer on its way back. */
export const PASSAGES = ["through", "held", "lost", "answer lost", "twice", "old answer"] as const;
export type Passage = (typeof PASSAGES)[number];

/** How often each passage happens, of all together. */
type Chances = Readonly<Partial<Record<Passage, number>>>;

/** What brings something (records, an enrolment, a succession) may fare otherwise than what only asks. */
export interface Weather {
  readonly bring: Chances;
  readonly ask: Chances;
}

const THROUGH: Chances = { through: 1 };
const LOST: Chances = { lost: 1 };

export const CLEAR: Weather = { bring: THROUGH, ask: THROUGH };
/** For the first request of a start only: it is asked again soon. */
export const AWKWARD: Weather = {
  bring: { through: 1, twice: 1 },
  ask: { through: 2, twice: 1, "answer lost": 1, "old answer": 1 },
};
/** Answers get lost, and requests come twice or not at all. */
export const ROUGH: Weather = {
  bring: { through: 5, "answer lost": 2, twice: 2, lost: 1 },
  ask: { through: 6, "answer lost": 1, twice: 1, lost: 1 },
};
/** Some of what the device takes for lost is still under way, and it sends the same again. */
export const SLOW: Weather = { bring: { through: 1, held: 1 }, ask: { through: 5, held: 1 } };
/** All that is brought stays under way. */
export const STUCK: Weather = { bring: { held: 1 }, ask: THROUGH };
/** All that is brought is gone, and the device learns that the relay does not have it. */
export const GONE: Weather = { bring: LOST, ask: THROUGH };
/** Somebody replays what the relay once answered. */
export const STALE: Weather = { bring: { through: 3, "old answer": 1 }, ask: { through: 2, "old answer": 1 } };
export const AWAY: Weather = { bring: LOST, ask: LOST };

/** Requests that are under way at once, those that were delivered among them: each may come again. */
const UNDER_WAY_MAX = 32;
/** Answers that may be replayed. */
const ANSWERS_MAX = 8;
/** Of wall time: the relay is in this process, and nothing here waits for a timeout. */
const TIMEOUT_MS = 60_000;

export interface WireOptions {
  /** The relay's, `http://host:port`. */
  readonly origin: string;
  readonly random: SeededRandom;
  /** Virtual time. */
  readonly nowMs: () => number;
  /** Told of each answer as the relay gave it, whoever gets it. */
  readonly onAnswer: (request: NetworkRequest, answer: NetworkAnswer) => void;
}

/**
 * The way between a board and its relay. What it does follows from the seed alone: a request that was begun always ends
 * as was drawn, also where the board's power goes meanwhile, and the relay's clock stands while it works on one.
 */
export class Wire implements Network {
  weather = CLEAR;
  /** Requests that the device takes for lost, oldest first. */
  readonly underWay: NetworkRequest[] = [];
  readonly counts: Record<Passage, number> = noPassages();
  /** The relay's clock. */
  relayMs: number;
  readonly #options: WireOptions;
  readonly #http: HttpNetwork;
  readonly #answers: NetworkAnswer[] = [];
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: WireOptions) {
    this.#options = options;
    this.#http = new HttpNetwork({ origin: options.origin, timeoutMs: TIMEOUT_MS });
    this.relayMs = options.nowMs();
  }

  request(request: NetworkRequest): Promise<NetworkAnswer> {
    const { random, nowMs } = this.#options;
    const atMs = nowMs();
    const brings = request.method === "POST" && !request.path.endsWith("/head");
    let passage = drawn(brings ? this.weather.bring : this.weather.ask, random);
    if (passage === "held" && this.underWay.length >= UNDER_WAY_MAX) passage = "lost";
    // Only acknowledgements are bound to their question; of an old page of records its reader sees whose it is.
    if (passage === "old answer" && (request.method !== "POST" || this.#answers.length === 0)) passage = "through";
    this.counts[passage]++;
    const which = random.next();
    return this.#then(() => this.#pass(request, passage, atMs, which));
  }

  /** Delivers what was under way; the device hears nothing of the answer. */
  async deliver(request: NetworkRequest): Promise<void> {
    const atMs = this.#options.nowMs();
    await this.#then(() => this.#ask(request, atMs));
  }

  /** Resolves when the relay has done all that it was asked for. */
  async idle(): Promise<void> {
    await this.#work;
  }

  close(): void {
    this.#http.close();
  }

  async #pass(request: NetworkRequest, passage: Passage, atMs: number, which: number): Promise<NetworkAnswer> {
    const lost: NetworkAnswer = { outcome: "timed-out", detail: passage };
    switch (passage) {
      case "held":
        this.underWay.push(request);
        return lost;
      case "lost":
        return lost;
      case "answer lost":
        await this.#ask(request, atMs);
        return lost;
      case "twice":
        await this.#ask(request, atMs);
        return this.#ask(request, atMs);
      case "old answer": {
        const old = this.#answers[which % this.#answers.length]!;
        await this.#ask(request, atMs);
        return old;
      }
      case "through":
        return this.#ask(request, atMs);
    }
  }

  async #ask(request: NetworkRequest, atMs: number): Promise<NetworkAnswer> {
    this.relayMs = atMs;
    const answer = await this.#http.request(request, new AbortController().signal);
    if (answer.outcome !== "answered")
      throw new Error(`the relay in this process: ${answer.outcome}, ${answer.detail}`);
    this.#options.onAnswer(request, answer);
    if (request.method === "POST" && answer.status === 200) {
      this.#answers.push(answer);
      if (this.#answers.length > ANSWERS_MAX) this.#answers.shift();
    }
    return answer;
  }

  /** One after the other. */
  #then<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }
}

function drawn(chances: Chances, random: SeededRandom): Passage {
  const entries = Object.entries(chances) as [Passage, number][];
  let at = random.below(entries.reduce((sum, [, chance]) => sum + chance, 0));
  for (const [passage, chance] of entries) {
    if (at < chance) return passage;
    at -= chance;
  }
  throw new Error("no chance was drawn");
}

export function noPassages(): Record<Passage, number> {
  return Object.fromEntries(PASSAGES.map((passage) => [passage, 0])) as Record<Passage, number>;
}
