import assert from "node:assert/strict";
import { formatCheckpoint } from "tallystick/log/checkpoint";
import { formatNote, formatSignatureLine, SignatureType } from "tallystick/log/note";
import { WITNESS_ANSWER_MAX_BYTES } from "tallystick/log/witness";
import { ORIGIN } from "../log/bench.js";
import { AskingLog } from "./asking.js";
import { must, StartedWitness, signerOf } from "./fixture.js";
import { type Lie, LyingWitness, linesOf, until } from "./lying.js";

describe("cosigning: witnesses that lie", () => {
  const key = signerOf("liar.example", 3, SignatureType.cosignature);
  const other = signerOf("liar.example", 4, SignatureType.cosignature);
  let asking: AskingLog;
  let honest: StartedWitness;
  let liar: LyingWitness;

  const line = (text: string, timeS = 1_790_000_000, by = key) => formatSignatureLine(by.line(text, timeS));
  /** As a witness that keeps to the protocol. */
  const truth: Lie = ({ method, text }, answer) => {
    if (method === "GET") answer.writeHead(404).end();
    else answer.writeHead(200).end(line(text));
  };

  beforeEach(async () => {
    asking = await AskingLog.open();
    honest = await StartedWitness.start([asking.log.key]);
    liar = await LyingWitness.start(truth);
    must(await asking.begin([honest, { url: liar.url, key: key.key }]));
    await until("both", () => linesOf(asking.published).length === 3);
  });
  afterEach(async () => {
    await asking.close();
    await honest.close();
    await liar.close();
  });

  const lies: Record<string, readonly [code: string, lie: Lie]> = {
    "another key": ["WITNESS_ANSWER_FALSE", ({ text }, answer) => answer.end(line(text, 1, other))],
    "another checkpoint": [
      "WITNESS_ANSWER_FALSE",
      ({ text, size }, answer) => answer.end(line(text.replace(`\n${size}\n`, `\n${size + 1}\n`))),
    ],
    "a changed signature": [
      "WITNESS_ANSWER_FALSE",
      ({ text }, answer) => {
        const signed = key.line(text, 1_790_000_000);
        signed.signature[40]! ^= 1;
        answer.end(formatSignatureLine(signed));
      },
    ],
    "no time": ["WITNESS_ANSWER_FALSE", ({ text }, answer) => answer.end(line(text, 0))],
    "the log's own line": [
      "WITNESS_ANSWER_FALSE",
      ({ body }, answer) => answer.end(body.slice(body.lastIndexOf(0xe2))),
    ],
    "text smuggled in by an empty line": [
      "WITNESS_ANSWER_FALSE",
      ({ text }, answer) => {
        const smuggled = `${text}\n${line(text)}`;
        answer.end(`${line(text)}\n${line(smuggled)}`);
      },
    ],
    nothing: ["WITNESS_ANSWER_FALSE", (_, answer) => answer.end()],
    garbage: ["WITNESS_ANSWER_FALSE", (_, answer) => answer.end(Buffer.alloc(5000, 0xff))],
    "65 lines": ["WITNESS_ANSWER_FALSE", ({ text }, answer) => answer.end(line(text).repeat(65))],
    "a body without end": [
      "WITNESS_ANSWER_FALSE",
      (_, answer) => {
        const more = () => {
          while (!answer.destroyed && answer.write(Buffer.alloc(8192, 0x41)));
          if (!answer.destroyed) answer.once("drain", more);
        };
        more();
      },
    ],
    "a body just too long": [
      "WITNESS_ANSWER_FALSE",
      ({ text }, answer) => answer.end(line(text).padEnd(WITNESS_ANSWER_MAX_BYTES + 1)),
    ],
    "a compressed body": [
      "WITNESS_ANSWER_FALSE",
      (_, answer) => {
        answer.setHeader("content-encoding", "gzip");
        answer.end(Buffer.from("H4sIAAAAAAAAA0tJLEkEAGPz860EAAAA", "base64"));
      },
    ],
    "no answer": ["WITNESS_UNREACHABLE", () => undefined],
    "a head, and then nothing": ["WITNESS_UNREACHABLE", (_, answer) => void answer.writeHead(200).write("\u2014")],
    "a redirect to where the truth is": [
      "WITNESS_UNREACHABLE",
      ({ path, method, text }, answer) => {
        if (path === "/elsewhere") answer.writeHead(200).end(line(liar.asked.findLast((each) => each.text)!.text));
        else if (method === "GET") answer.writeHead(404).end();
        // Not 307: with 303 the question is not repeated, so nothing but the client's own rule is in its way.
        else answer.writeHead(text ? 303 : 404, { location: "/elsewhere" }).end();
      },
    ],
    "an error of its own": ["WITNESS_UNREACHABLE", (_, answer) => void answer.writeHead(500).end("\u001b[31mred")],
    "that it does not know the log": ["WITNESS_REFUSED", (_, answer) => void answer.writeHead(404).end()],
    "that the path is false": ["WITNESS_REFUSED", (_, answer) => void answer.writeHead(422).end()],
    "a size of another type": [
      "WITNESS_ANSWER_FALSE",
      (_, answer) => void answer.writeHead(409, { "content-type": "text/plain" }).end("1\n"),
    ],
    "a size that is none": [
      "WITNESS_ANSWER_FALSE",
      (_, answer) => void answer.writeHead(409, { "content-type": "text/x.tlog.size" }).end("-1\n"),
    ],
    "another size each time": [
      "WITNESS_ANSWER_FALSE",
      ({ oldSize }, answer) =>
        void answer.writeHead(409, { "content-type": "text/x.tlog.size" }).end(`${oldSize ^ 1}\n`),
    ],
    "a larger size than there is": [
      "LOG_BEHIND",
      (_, answer) => void answer.writeHead(409, { "content-type": "text/x.tlog.size" }).end("9007199254740991\n"),
    ],
    "a checkpoint of its own making": [
      "LOG_BEHIND",
      ({ method }, answer) => {
        const text = formatCheckpoint({ origin: ORIGIN, size: 4711, root: new Uint8Array(32) });
        const forged = formatNote({
          text,
          signatures: [signerOf(ORIGIN, 9).line(text), key.line(text, 1_790_000_000)],
        });
        if (method === "GET") answer.end(Buffer.from(forged));
        else answer.writeHead(409, { "content-type": "text/x.tlog.size" }).end("4711\n");
      },
    ],
  };
  for (const [name, [code, lie]] of Object.entries(lies)) {
    it(`${name}: the log goes on, its checkpoint without that line, and the other witness is heard`, async () => {
      liar.lie = lie;
      await asking.grow(3);
      await until("a complaint", () => asking.told.length > 0);
      await asking.grow(2);
      await until("the other's line", () => linesOf(asking.published).includes("witness.example/w1"));
      assert.deepEqual(linesOf(asking.published), [ORIGIN, "witness.example/w1"]);
      assert.deepEqual(asking.log.head.checkpoint, asking.published);
      assert.equal(asking.told[0], `liar.example ${code}`, asking.told.join("; "));
      assert.deepEqual(asking.contradictions, []);
      assert.equal(asking.log.head.size, 6);
      liar.lie = truth;
      await until("the truth", () => linesOf(asking.published).length === 3);
      assert.ok(!liar.asked.some(({ path }) => path === "/elsewhere"), "a redirect was followed");
    });
  }

  it("its retries are bounded, and a lie that goes on costs one request each time", async () => {
    let nowMs = 0;
    await asking.cosigning!.close();
    liar.lie = (_, answer) => void answer.writeHead(500).end();
    must(await asking.begin([{ url: liar.url, key: key.key }], { nowMs: () => nowMs, retryMinMs: 1000 }));
    const before = liar.asked.length;
    const noted = () => asking.cosigning!.witnesses[0]!.failure;
    for (const waitMs of [1000, 2000, 4000]) {
      for (let i = 0; i < 5; i++) asking.cosigning!.wake();
      await asking.grow(1);
      nowMs += waitMs - 1;
      asking.cosigning!.wake();
      await asking.grow(1);
      const [asked, failure] = [liar.asked.length, noted()];
      nowMs += 1;
      asking.cosigning!.wake();
      // The next wait begins when the answer is there, not when the request is.
      await until("one request more, and what came of it", () => noted() !== failure);
      assert.equal(liar.asked.length, asked + 1);
    }
    assert.equal(liar.asked.length, before + 3);
  });

  it("a defect while they are asked is told, and neither ends the process nor keeps the relay from stopping", async () => {
    await asking.cosigning!.close();
    const faults: unknown[] = [];
    const onChange = () => {
      throw new Error("a defect");
    };
    must(await asking.begin([{ url: liar.url, key: key.key }], { onChange, onFault: (error) => faults.push(error) }));
    liar.lie = (_, answer) => void answer.writeHead(500).end();
    await asking.grow(1);
    asking.cosigning!.wake();
    await until("it is told", () => faults.length > 0);
    assert.match(String(faults[0]), /a defect/);
    await asking.cosigning!.close();
  });
});
