import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

/**
 * What no broker does: it acknowledges when the test says so, and sends what the test says. Just enough of MQTT 5 for a
 * relay to connect and to subscribe; real brokers are in the other tests.
 */
export class StallingBroker {
  /** Connections that came, the newest last. */
  readonly sockets: Socket[] = [];
  /** Packet ids of answers that were published and not acknowledged, in order. */
  readonly unacknowledged: number[] = [];
  /** Answers that were published. */
  published = 0;
  /** Called once a connection has subscribed. */
  onSubscribed: (send: (bytes: Uint8Array) => void) => void = () => undefined;
  readonly #server: Server;
  readonly #receiveMax: number;

  private constructor(receiveMax: number) {
    this.#receiveMax = receiveMax;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(receiveMax = 65_535): Promise<StallingBroker> {
    const broker = new StallingBroker(receiveMax);
    broker.#server.listen(0, "127.0.0.1");
    await once(broker.#server, "listening");
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Acknowledges the oldest answer. */
  acknowledge(): void {
    const id = this.unacknowledged.shift()!;
    this.sockets.at(-1)!.write(Buffer.from([0x40, 2, id >> 8, id & 0xff]));
  }

  close(): void {
    this.#server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.sockets.push(socket);
    socket.on("error", () => undefined);
    let bytes = Buffer.alloc(0);
    socket.on("data", (data: Buffer) => {
      bytes = Buffer.concat([bytes, data]);
      for (let packet = take(bytes); packet; packet = take(bytes)) {
        bytes = bytes.subarray(packet.end);
        this.#hear(socket, packet);
      }
    });
  }

  #hear(socket: Socket, { type, content }: Packet): void {
    // CONNECT → CONNACK with a Receive Maximum.
    if (type === 1) socket.write(Buffer.from([0x20, 6, 0, 0, 3, 0x21, this.#receiveMax >> 8, this.#receiveMax & 0xff]));
    if (type === 8) {
      // SUBSCRIBE → SUBACK, granted QoS 1.
      socket.write(Buffer.from([0x90, 4, content[0]!, content[1]!, 0, 1]));
      this.onSubscribed((sent) => socket.write(sent));
    }
    if (type === 3) {
      this.published++;
      this.unacknowledged.push(content.readUInt16BE(2 + content.readUInt16BE(0)));
    }
  }
}

interface Packet {
  readonly type: number;
  readonly content: Buffer;
  readonly end: number;
}

/** The first packet of `bytes`, where it is whole. */
function take(bytes: Buffer): Packet | undefined {
  let [length, weight, at] = [0, 1, 1];
  for (; ; at++, weight *= 128) {
    const byte = bytes[at];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * weight;
    if (byte < 0x80) break;
  }
  const [start, end] = [at + 1, at + 1 + length];
  return bytes.length < end ? undefined : { type: bytes[0]! >> 4, content: bytes.subarray(start, end), end };
}

/** A PUBLISH of QoS 0. */
export function publishPacket(topic: string, payload: Uint8Array): Buffer {
  const name = Buffer.from(topic);
  const rest = Buffer.concat([Buffer.from([name.length >> 8, name.length & 0xff]), name, Buffer.from([0]), payload]);
  const length: number[] = [];
  for (let left = rest.length; ; left >>= 7) {
    length.push(left > 127 ? (left & 0x7f) | 0x80 : left);
    if (left <= 127) break;
  }
  return Buffer.concat([Buffer.from([0x30, ...length]), rest]);
}
