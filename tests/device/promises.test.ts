import assert from "node:assert/strict";
import { join } from "node:path";
import { OmissionCheck, type OmissionReport } from "tallystick/evidence/omission";
import { readPolicy } from "tallystick/evidence/policy";
import { type Acknowledgement, makeAcknowledgement, readAcknowledgement } from "tallystick/sync/messages";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { pathsOf } from "../../hosts/relay/folder.js";
import { openDeviceFacingKey } from "../../hosts/relay/keys.js";
import { openSource, readLeaves, readOpeningEntry } from "../../tools/verify/log-source.js";
import { must, StartedRelay } from "../relay/started.js";
import { Bench } from "./bench.js";

/** What a device's application is handed of its relay's word holds the relay to it, long after the device let go. */
describe("a device that keeps its relay's word", () => {
  let started: StartedRelay;
  let bench: Bench;
  let kept: { readonly said: Acknowledgement; readonly bytes: Uint8Array }[];

  beforeEach(async () => {
    started = await StartedRelay.start({ batchIntervalMs: 3_600_000 });
    kept = [];
    const onAcknowledged = (said: Acknowledgement, bytes: Uint8Array) => void kept.push({ said, bytes: bytes.slice() });
    bench = new Bench({ seed: 301, device: { onAcknowledged } });
    bench.provision(started);
    bench.connect(started.url);
    await bench.powerOn();
    await bench.until("records", () => bench.level("received") >= 5);
  });
  afterEach(async () => {
    await bench.close();
    await started.close();
  });

  /** Against the relay's log as it is by now. */
  async function judge(acknowledgement: Uint8Array): Promise<OmissionReport> {
    const source = openSource(join(pathsOf(started.folder).log, "public"));
    const policy = must(readPolicy(relayCrypto.sha256, JSON.stringify({ log: started.relay.identity.logKey })));
    const { size, checkpoint } = started.relay.log.head;
    const opening = must(await readOpeningEntry(source, size));
    const check = must(OmissionCheck.begin(relayCrypto, { acknowledgement, later: checkpoint, policy, opening }));
    for await (const hashes of readLeaves(source, check.size)) check.append(must(hashes));
    return check.report();
  }

  it("is handed each acknowledgement as the relay signed it, and an honest relay has kept all of them", async () => {
    await bench.climb(started);
    await started.settled();
    assert.ok(kept.some(({ said }) => said.logByS !== undefined) && kept.some(({ said }) => said.logged));
    for (const { said, bytes } of kept) {
      assert.deepEqual(must(readAcknowledgement(bytes)).acknowledgement, said);
      const { verdict, steps } = await judge(bytes);
      assert.equal(verdict, "false", JSON.stringify(steps));
    }
  });

  it("has the proof where a relay said that it had logged what it had not, and the device let go of it", async () => {
    const key = must(openDeviceFacingKey(pathsOf(started.folder).deviceFacingKey, relayCrypto));
    bench.network.alter = (_request, answer) => {
      if (answer.outcome !== "answered") return answer;
      const read = readAcknowledgement(answer.body);
      if (!read.ok) return answer;
      const { logByS: _, ...said } = read.value.acknowledgement;
      const lie = { ...said, ...(said.received && { logged: said.received }) };
      return { ...answer, body: makeAcknowledgement(key.kid, lie, (bytes) => must(key.sign(bytes))) };
    };
    await bench.until("it believes so", () => bench.level("logged") >= 5);
    const { bytes } = kept.at(-1)!;
    const { verdict, steps } = await judge(bytes);
    assert.equal(verdict, "proved", JSON.stringify(steps));
    assert.match(steps.at(-1)!.finding, /^logged \d+, .*: promised, and not among the 1 entries$/);
  });
});
