import { Agent, request as httpRequest } from "node:http";
import { toHex } from "tallystick/bytes/bytes";
import { decodeCbor } from "tallystick/record/cbor";
import { readAcknowledgement } from "tallystick/sync/messages";
import { BenchChain, type Body, must } from "./relay-chain.js";
import { harass, type Onslaught } from "./relay-enemy.js";

/**
 * A fleet of devices as a process of its own, driven over its channel by relay.ts: signs its chains before anything is
 * measured, then sends each chain's bodies one after the other, as devices do, and times every answer.
 */

export interface Prepare {
  readonly what: "prepare";
  readonly url: string;
  readonly origin: string;
  readonly chains: number;
  readonly recordsPerChain: number;
  readonly bodyBytes: number;
  /** Tells fleets apart: their keys follow from it. */
  readonly fleet: number;
}

export interface Run {
  readonly what: "run";
  /** Requests under way at once; a chain has at most one. */
  readonly connections: number;
}

/** Sends bodies of records whose signatures do not hold, under the keys of `fleet`, until told to stop. */
export interface Harass extends Onslaught {
  readonly what: "harass";
}

export interface Stop {
  readonly what: "stop";
}

export type Order = Prepare | Run | Harass | Stop;

export interface Prepared {
  readonly what: "prepared";
  readonly records: number;
  readonly requests: number;
  /** A sample for the measurement of the ceiling. */
  readonly sample: readonly { readonly publicKey: string; readonly body: string }[];
}

export interface Ran {
  readonly what: "ran";
  readonly records: number;
  /** Records that no acknowledgement names in the end. */
  readonly lost: number;
  readonly refused: number;
  readonly latenciesMs: readonly number[];
}

export interface Harassed {
  readonly what: "harassed";
  readonly signatures: number;
  readonly statuses: Readonly<Record<string, number>>;
}

const SAMPLE_MAX = 64;
/** Tries of one body that is told to come again. */
const TRIES_MAX = 50;

interface Prepared1 {
  readonly chain: BenchChain;
  readonly bodies: Body[];
}

let url = "";
let fleet: Prepared1[] = [];
let stopped = false;

process.on("message", (order: Order) => {
  void (async () => {
    if (order.what === "prepare") process.send!(await prepare(order));
    else if (order.what === "run") process.send!(await run(order));
    else if (order.what === "harass") process.send!(await attack(order));
    else stopped = true;
  })();
});
process.on("disconnect", () => process.exit());

async function prepare(order: Prepare): Promise<Prepared> {
  url = order.url;
  fleet = [];
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  for (let n = 0; n < order.chains; n++) {
    const seed = new Uint8Array(32);
    new DataView(seed.buffer).setUint32(0, order.fleet);
    new DataView(seed.buffer).setUint32(4, n);
    const chain = new BenchChain(seed);
    const challenge = must(decodeCbor((await send(agent, "GET", "/v1/challenge")).body));
    const issued = challenge instanceof Map ? challenge.get(1) : undefined;
    if (!(issued instanceof Uint8Array)) throw new Error("the relay gave no challenge");
    const answer = await send(agent, "POST", "/v1/devices", chain.enrolment(order.origin, issued));
    if (answer.status !== 200) throw new Error(`enrolment: ${Buffer.from(answer.body).toString()}`);
    fleet.push({ chain, bodies: chain.bodies(order.recordsPerChain, order.bodyBytes) });
  }
  agent.destroy();
  const sample = fleet.flatMap(({ chain, bodies }) => ({
    publicKey: toHex(chain.identity.publicKey),
    body: toHex(bodies[0]!.bytes),
  }));
  return {
    what: "prepared",
    records: fleet.reduce((sum, { bodies }) => sum + bodies.reduce((of, { records }) => of + records, 0), 0),
    requests: fleet.reduce((sum, { bodies }) => sum + bodies.length, 0),
    sample: sample.slice(0, SAMPLE_MAX),
  };
}

async function run({ connections }: Run): Promise<Ran> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const latenciesMs: number[] = [];
  let [records, lost, refused] = [0, 0, 0];
  // A chain's next body waits for the answer to the one before; chains take turns.
  const turns = fleet.map(({ chain, bodies }) => ({ path: pathOf(chain), bodies, next: 0, acknowledged: 0 }));
  const waiting = [...turns];
  await Promise.all(
    Array.from({ length: Math.min(connections, turns.length) }, async () => {
      for (let turn = waiting.shift(); turn; turn = waiting.shift()) {
        const body = turn.bodies[turn.next++]!;
        for (let tries = 0; tries < TRIES_MAX; tries++) {
          const beginMs = performance.now();
          const answer = await send(agent, "POST", turn.path, body.bytes);
          if (answer.status === 200) {
            latenciesMs.push(performance.now() - beginMs);
            turn.acknowledged = must(readAcknowledgement(answer.body)).acknowledgement.received!.seq;
            break;
          }
          refused++;
          await new Promise((resolve) => setTimeout(resolve, answer.retryAfterS * 1000));
        }
        records += body.records;
        if (turn.next < turn.bodies.length) waiting.push(turn);
      }
    }),
  );
  for (const { bodies, acknowledged } of turns)
    lost += Math.max(0, (bodies[bodies.length - 1]?.last ?? 0) - acknowledged);
  agent.destroy();
  return { what: "ran", records, lost, refused, latenciesMs };
}

async function attack(order: Harass): Promise<Harassed> {
  stopped = false;
  const targets = fleet.map(({ chain, bodies }) => ({ url, path: pathOf(chain), body: bodies[0]! }));
  return { what: "harassed", ...(await harass(targets, order, () => stopped)) };
}

function pathOf(chain: BenchChain): string {
  return `/v1/devices/${toHex(chain.identity.kid)}/records`;
}

interface Answer {
  readonly status: number;
  readonly retryAfterS: number;
  readonly body: Uint8Array;
}

function send(agent: Agent, method: string, path: string, body?: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body && { "content-type": "application/cbor-seq", "content-length": body.length };
    const type = path.endsWith("/records") ? headers : headers && { ...headers, "content-type": "application/cbor" };
    const request = httpRequest(`${url}${path}`, { agent, method, ...(type && { headers: type }) }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const whole = Buffer.concat(parts);
        const retryAfterS = Number(response.headers["retry-after"] ?? 0.05);
        resolve({ status: response.statusCode!, retryAfterS, body: new Uint8Array(whole) });
      });
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      // The relay had closed the connection as idle when the request was on its way: RFC 9112 §9.3.1 has it sent again.
      if (request.reusedSocket && error.code === "ECONNRESET") resolve(send(agent, method, path, body));
      else reject(error);
    });
    request.end(body);
  });
}
