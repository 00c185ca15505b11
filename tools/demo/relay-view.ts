/** What the demo sees of the relay: its public routes, and the ledger's own node. */
export interface RelayDescription {
  readonly origin: string;
  /** Device-facing public key in hexadecimal. */
  readonly device_key: string;
  /** vkey line of the log. */
  readonly log_key: string;
  /** Offline recovery key in hexadecimal. */
  readonly recovery_key?: string;
  readonly generation: number;
  readonly ledger?: {
    readonly name: string;
    readonly chain_id: number;
    readonly contract: string;
    readonly rpc_url: string;
  };
}

export interface DeviceStatus {
  readonly kid: string;
  readonly did: string;
  readonly received?: LevelStatus;
  readonly logged?: LevelStatus;
  readonly submitted?: LevelStatus;
  readonly final?: LevelStatus;
}

interface LevelStatus {
  readonly seq: number;
  readonly id: string;
  readonly count: number;
}

export interface RecordStatus {
  readonly kind: string;
  readonly prev: string;
  readonly readings?: readonly ReadingStatus[];
}

export interface ReadingStatus {
  readonly name: string;
  readonly unit: string;
  readonly value?: number;
  readonly fault?: string;
}

const TIMEOUT_MS = 5000;
/** How far back from the final head a readings record is looked for: genesis, boot and mark records stand between. */
const LOOK_BACK_MAX = 8;

export class RelayView {
  constructor(readonly url: string) {}

  async describe(): Promise<RelayDescription> {
    return (await this.#json("/v1/relay")) as RelayDescription;
  }

  /** Undefined while the relay does not know the device, or does not answer. */
  async device(kid: string): Promise<DeviceStatus | undefined> {
    try {
      return (await this.#json(`/v1/devices/${kid}`)) as DeviceStatus;
    } catch {
      return undefined;
    }
  }

  async record(id: string): Promise<RecordStatus> {
    return (await this.#json(`/v1/records/${id}`)) as RecordStatus;
  }

  /** The hash of a block, asked of the ledger's node and not of the relay. */
  async blockHash(ledger: NonNullable<RelayDescription["ledger"]>, number: number): Promise<string> {
    const response = await fetch(ledger.rpc_url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 1,
        method: "eth_getBlockByNumber",
        params: [`0x${number.toString(16)}`, false],
      }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { result } = (await response.json()) as { result?: { hash?: string } };
    if (typeof result?.hash !== "string") throw new Error(`the ledger has no block ${number}`);
    return result.hash;
  }

  async #json(path: string): Promise<unknown> {
    const response = await fetch(`${this.url}${path}`, {
      headers: { accept: "application/json" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`${path}: the relay answered ${response.status} ${await response.text()}`);
    return response.json();
  }
}

/** The id of the newest record of readings that is final and stands after `afterSeq`; undefined while there is none. */
export async function newestFinalReading(
  relay: RelayView,
  status: DeviceStatus,
  afterSeq: number,
): Promise<string | undefined> {
  if (!status.final) return undefined;
  let { id } = status.final;
  const lowest = Math.max(afterSeq, status.final.seq - LOOK_BACK_MAX);
  for (let { seq } = status.final; seq > lowest; seq--) {
    const record = await relay.record(id);
    if (record.kind === "readings") return id;
    id = record.prev;
  }
  return undefined;
}
