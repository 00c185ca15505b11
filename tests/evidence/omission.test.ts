import assert from "node:assert/strict";
import fc from "fast-check";
import { OMISSION_ALLOWANCE_S, OmissionCheck, type OmissionClaim } from "tallystick/evidence/omission";
import { formatVerifierKey } from "tallystick/log/note";
import { makeRelayKey, type RelayKeyStatement } from "tallystick/log/relay-key";
import { relayCrypto } from "../../hosts/relay/crypto.js";
import { signerOf } from "../witness/fixture.js";
import { idOf, judge, keyOf, LATER_S, ORIGIN, openingOf, PROMISED_S, PromisingRelay, statesOf } from "./promising.js";

/** The rule of modules/evidence/OMISSION.md, on logs whose keys are the test's. */
describe("evidence: proof of omission", () => {
  const relay = new PromisingRelay();
  const before = relay.leaves("a", "b");
  const dropping = relay.leaves("a", "b", "d", "e");
  const keeping = relay.leaves("a", "b", "c", "e");
  const c = { seq: 7, id: idOf("c") };
  const b = { seq: 6, id: idOf("b") };
  const { opening } = relay;
  const policy = relay.policy();
  const promise = relay.acknowledgement(before, { received: c, logged: b });
  const cosigned = relay.checkpoint(dropping, [LATER_S, LATER_S + 5]);
  const claim: OmissionClaim = { acknowledgement: promise, later: cosigned, policy, opening };

  it("is proved by acknowledgement, later cosigned checkpoint and all leaf hashes", () => {
    const report = judge(claim, dropping);
    assert.equal(report.verdict, "proved");
    assert.equal(
      statesOf(report),
      "relay proved, acknowledgement proved, checkpoint proved, entries proved, entries proved, time proved, received proved, logged false",
    );
    assert.match(report.steps.at(-2)!.finding, /^received 7, .*: promised by 2027-01-15T08:00:00.000Z, and not among/);
    assert.match(report.notProved[0]!, /no larger tree/);
  });

  it("is false where the record came to stand there, whenever: it says at which index", () => {
    for (const times of [[], [PROMISED_S - 5, PROMISED_S - 5], [LATER_S, LATER_S]]) {
      const report = judge({ ...claim, later: relay.checkpoint(keeping, times) }, keeping);
      assert.equal(report.verdict, "false");
      assert.match(report.steps.at(-2)!.finding, /kept, it stands at index 3 of 5/);
    }
  });

  it("is proved by the relay's own later word, of any device, without any witness", () => {
    const timeMs = (LATER_S + 1) * 1000;
    const word = relay.acknowledgement(dropping, { kid: new Uint8Array(8).fill(9), received: c, timeMs });
    const alone = relay.policy({ witnesses: [], witnessQuorum: 0 });
    const report = judge({ ...claim, later: word, policy: alone }, dropping);
    assert.equal(report.verdict, "proved");
    assert.match(report.steps.find(({ part }) => part === "time")!.finding, /^the relay itself signed/);
    assert.doesNotMatch(report.notProved.join(), /no larger tree/);
    const early = relay.acknowledgement(dropping, { received: c, timeMs: (PROMISED_S + 60) * 1000 });
    assert.equal(judge({ ...claim, later: early, policy: alone }, dropping).verdict, "incomplete");
    const forged = relay.acknowledgement(dropping, { received: c, timeMs }, { ...keyOf(66), kid: relay.device.kid });
    assert.equal(judge({ ...claim, later: forged, policy: alone }, dropping).verdict, "false");
    const stranger = relay.acknowledgement(dropping, { received: c, timeMs }, keyOf(66));
    assert.equal(judge({ ...claim, later: stranger, policy: alone }, dropping).verdict, "incomplete");
  });

  it("is proved without waiting where what is said to be logged, or final, is not in the very tree that it names", () => {
    for (const level of ["logged", "final"] as const) {
      const lie = relay.acknowledgement(before, { [level]: c });
      const report = judge({ acknowledgement: lie, policy, opening }, before);
      assert.equal(report.verdict, "proved");
      assert.equal(statesOf(report), `relay proved, acknowledgement proved, entries proved, ${level} proved`);
      const truth = relay.acknowledgement(before, { [level]: b });
      assert.equal(judge({ acknowledgement: truth, policy, opening }, before).verdict, "false");
      // Logged afterwards it was no less a lie then.
      const afterwards = judge({ ...claim, acknowledgement: lie, later: relay.checkpoint(keeping) }, keeping);
      assert.equal(afterwards.verdict, "proved");
    }
  });

  it("is open where any part is missing, and says which", () => {
    const key = signerOf("other.example/log", 40).key;
    const other = new PromisingRelay("other.example/log");
    const missing: readonly [string, Partial<OmissionClaim>, (readonly Uint8Array[])?][] = [
      ["received open", { later: undefined as never }],
      ["time open", { later: relay.checkpoint(dropping) }],
      ["time open", { later: relay.checkpoint(dropping, [LATER_S]) }],
      ["time open", { later: relay.checkpoint(dropping, [LATER_S, PROMISED_S + OMISSION_ALLOWANCE_S]) }],
      ["time open", { policy: relay.policy({ witnesses: [], witnessQuorum: 0 }) }],
      ["time open", { policy: relay.policy({ witnessQuorum: 0 }) }],
      ["checkpoint open", { later: relay.checkpoint(relay.leaves("a"), [LATER_S, LATER_S]) }],
      ["checkpoint open", { later: other.checkpoint(dropping, [LATER_S, LATER_S]) }],
      ["entries open", {}, []],
      ["entries open", {}, dropping.slice(0, 4)],
      ["entries open", {}, relay.leaves("a", "b", "d", "f")],
      ["entries open", {}, relay.leaves("a", "b", "e", "d")],
      ["relay open", { opening: undefined as never }],
      ["relay open", { opening: other.opening }],
      ["relay open", { policy: relay.policy({ log: undefined as never }) }],
      ["acknowledgement open", { acknowledgement: other.acknowledgement(before, { received: c }) }],
      ["acknowledgement open", { policy: relay.policy({ log: key }) }],
      ["relay open", { acknowledgement: relay.acknowledgement(before, { received: c }, keyOf(77)) }],
      ["received open", { acknowledgement: relay.acknowledgement(before, {}) }],
      [
        "received open",
        { acknowledgement: relay.acknowledgement(before, { received: c, logByS: undefined as never }) },
      ],
    ];
    for (const [step, parts, leaves] of missing) {
      const whole = Object.entries({ ...claim, ...parts }).filter(([, value]) => value !== undefined);
      const report = judge(Object.fromEntries(whole) as unknown as OmissionClaim, leaves ?? dropping);
      assert.ok(statesOf(report).includes(step), `expected ${step} of ${statesOf(report)}`);
      assert.equal(report.verdict, "incomplete", statesOf(report));
    }
    const foreign = { ...claim, acknowledgement: other.acknowledgement(before, { received: c }) };
    const begun = OmissionCheck.begin(relayCrypto, foreign);
    assert.ok(begun.ok && begun.value.size === 0, "no leaf of another log shows anything");
    assert.match(begun.value.report().steps[1]!.finding, /about the log other.example\/log/);
    const timeless = relay.acknowledgement(before, { received: c, logByS: undefined as never });
    assert.match(
      judge({ ...claim, acknowledgement: timeless }, dropping).steps.at(-1)!.finding,
      /no time was promised/,
    );
  });

  it("takes no cosignature for a time that is not later than promised by the allowance, and no key twice", () => {
    const at = PROMISED_S + OMISSION_ALLOWANCE_S;
    for (const [times, verdict] of [
      [[at, at, at], "incomplete"],
      [[at + 1, at, at], "incomplete"],
      [[at + 1, at + 1, at], "proved"],
      [[at, at + 1, at + 1], "proved"],
    ] as const)
      assert.equal(judge({ ...claim, later: relay.checkpoint(dropping, times) }, dropping).verdict, verdict);
    const twice = Buffer.from(relay.checkpoint(dropping, [LATER_S])).toString();
    const line = twice.trimEnd().split("\n").at(-1)!;
    const later = new Uint8Array(Buffer.from(`${twice}${line}\n`));
    assert.equal(judge({ ...claim, later }, dropping).verdict, "incomplete");
  });

  it("is never proved once a bit of what was signed, of the opening or of a leaf hash is flipped", () => {
    const times = [LATER_S, LATER_S + 5];
    const parts = { acknowledgement: promise, later: relay.checkpoint(dropping, times), opening };
    let refused = 0;
    for (const [name, bytes] of Object.entries(parts))
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const flipped = bytes.slice();
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const begun = OmissionCheck.begin(relayCrypto, { ...claim, ...parts, [name]: flipped });
        if (!begun.ok) {
          refused++;
          continue;
        }
        for (const leaf of dropping) begun.value.append(leaf);
        assert.notEqual(begun.value.report().verdict, "proved", `bit ${bit} of ${name}`);
      }
    assert.ok(refused > 100, "some cannot be read at all");
    const lies = relay.acknowledgement(dropping, { logged: c });
    for (let bit = 0; bit < dropping.length * 256; bit++) {
      const leaves = dropping.map((leaf) => leaf.slice());
      leaves[bit >> 8]![(bit >> 3) & 31]! ^= 1 << (bit & 7);
      assert.equal(judge(claim, leaves).verdict, "incomplete", `bit ${bit} of the leaves`);
      assert.equal(judge({ acknowledgement: lies, policy, opening }, leaves).verdict, "incomplete");
    }
  });

  it("says that the log has two histories where the later tree does not begin with the one promised about", () => {
    const rewritten = relay.leaves("a", "x", "d", "e");
    const report = judge({ ...claim, later: relay.checkpoint(rewritten, [LATER_S, LATER_S]) }, rewritten);
    assert.equal(report.verdict, "proved");
    assert.match(statesOf(report), /histories proved.*received proved, logged open/);
    // Whose word about the log is not the relay's says nothing of it.
    const theirs = relay.acknowledgement(before, { received: c }, keyOf(77));
    const told = judge(
      { ...claim, acknowledgement: theirs, later: relay.checkpoint(rewritten, [LATER_S, LATER_S]) },
      rewritten,
    );
    assert.doesNotMatch(statesOf(told), /histories/);
  });

  it("believes no opening but leaf 0 of a tree that the policy's own log key has signed", () => {
    // Whoever makes up a log of this name, and a relay for it, has everything but that signature.
    const forger = new PromisingRelay(ORIGIN, 90, keyOf(91));
    const leaves = forger.leaves("a", "b", "d", "e");
    const lie = forger.acknowledgement(leaves, { logged: c });
    assert.equal(judge({ acknowledgement: lie, policy, opening: forger.opening }, leaves).verdict, "incomplete");
    for (const later of [forger.checkpoint(leaves, [LATER_S, LATER_S]), cosigned]) {
      const forged = { ...claim, acknowledgement: lie, later, opening: forger.opening };
      for (const given of [leaves, dropping]) assert.equal(judge(forged, given).verdict, "incomplete");
    }
    // Nor beside the log as it is, of which theirs is no leaf.
    const promising = forger.acknowledgement(leaves.slice(0, 3), { received: c });
    const beside = { ...claim, acknowledgement: promising, opening: forger.opening };
    assert.equal(judge(beside, dropping).verdict, "incomplete");
    const nameless = openingOf("no name of a key", keyOf(11), relay.device.publicKey);
    assert.match(judge({ ...claim, opening: nameless }, dropping).steps[0]!.finding, /the opening is not this log's/);
    // The verifier's own word for a key takes the opening's place.
    const known = judge({ ...claim, opening: undefined as never, relayKey: relay.device.publicKey }, dropping);
    assert.equal(known.verdict, "proved");
    const wrong = judge({ ...claim, opening: undefined as never, relayKey: keyOf(91).publicKey }, dropping);
    assert.equal(wrong.verdict, "incomplete");
  });

  it("follows the relay's keys by its statements, and the log's with them", () => {
    const next = keyOf(51);
    const nextLog = signerOf(ORIGIN, 52);
    const statement: RelayKeyStatement = {
      origin: ORIGIN,
      generation: 1,
      deviceKey: next.publicKey,
      logKey: formatVerifierKey(nextLog.key),
    };
    const stated = makeRelayKey(relay.device.kid, statement, relay.device.sign, next.sign);
    const after = new PromisingRelay(ORIGIN, 52, next, opening);
    const now = relay.policy({ log: nextLog.key });
    const later = after.checkpoint(dropping, [LATER_S, LATER_S]);
    // Promised under the former keys, and under the next ones.
    const former = { ...claim, policy: now, later, relayKeys: [stated] };
    assert.equal(judge(former, dropping).verdict, "proved");
    const since = after.acknowledgement(before, { received: c }, next);
    assert.equal(judge({ ...former, acknowledgement: since }, dropping).verdict, "proved");
    const without = judge({ ...former, acknowledgement: since, relayKeys: [] }, dropping);
    assert.equal(without.verdict, "incomplete");
    assert.match(without.steps[0]!.finding, /statements of changed keys may be missing/);
    const others = makeRelayKey(keyOf(60).kid, statement, keyOf(60).sign, next.sign);
    assert.equal(judge({ ...former, acknowledgement: since, relayKeys: [others] }, dropping).verdict, "incomplete");
  });

  it("promises nothing of what stands between the levels, and nothing twice", () => {
    const same = relay.acknowledgement(keeping, { received: c, logged: c });
    const report = judge({ acknowledgement: same, policy, opening }, keeping);
    assert.equal(statesOf(report), "relay proved, acknowledgement proved, entries proved, logged false");
    // Of another id at the logged position no time was promised: it contradicts itself, and proves no omission.
    const odd = relay.acknowledgement(keeping, {
      received: { ...c, id: idOf("z") },
      logged: c,
      logByS: undefined as never,
    });
    assert.equal(
      judge({ ...claim, acknowledgement: odd, later: relay.checkpoint(keeping, [LATER_S, LATER_S]) }, keeping).verdict,
      "incomplete",
    );
  });

  it("goes by the first place of an id that a log holds twice", () => {
    const twice = relay.leaves("a", "b", "c", "d", "c");
    const acknowledgement = relay.acknowledgement(twice.slice(0, 4), { received: c, logged: c });
    const report = judge({ ...claim, acknowledgement, later: relay.checkpoint(twice, [LATER_S, LATER_S]) }, twice);
    assert.equal(report.verdict, "false");
    assert.match(report.steps.at(-1)!.finding, /kept, it stands at index 3 of 4/);
  });

  it("tells a time beyond all calendars as a number", () => {
    const far = relay.acknowledgement(before, { received: c, logByS: 2 ** 53 - 1, timeMs: 2 ** 53 - 1 });
    const report = judge({ ...claim, acknowledgement: far }, dropping);
    assert.equal(report.verdict, "incomplete");
    assert.match(report.steps.at(-1)!.finding, /9007199254740991 s since 1970/);
  });

  it("of any tree and any promise: proved just where the id is not in it, in pieces of any length", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 300 }),
        fc.integer({ min: 0, max: 400 }),
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 100 }),
        (numbers, wanted, from, piece) => {
          const leaves = relay.leaves(...numbers.map(String));
          const start = leaves.slice(0, Math.min(from, leaves.length));
          const position = { seq: wanted, id: idOf(String(wanted)) };
          const acknowledgement = relay.acknowledgement(start, { received: position });
          const later = relay.checkpoint(leaves, [LATER_S, LATER_S]);
          const { verdict, steps } = judge({ ...claim, acknowledgement, later }, leaves, piece);
          const index = numbers.indexOf(wanted);
          assert.equal(verdict, index < 0 ? "proved" : "false");
          if (index >= 0) assert.ok(steps.at(-1)!.finding.includes(`index ${index + 1} of ${leaves.length}`));
          const lie = relay.acknowledgement(start, { logged: position });
          const judged = judge({ acknowledgement: lie, policy, opening }, leaves, piece);
          assert.equal(judged.verdict, index >= 0 && index + 1 < start.length ? "false" : "proved");
          if (leaves.length > 1)
            assert.equal(judge({ ...claim, acknowledgement, later }, leaves.slice(0, -1)).verdict, "incomplete");
        },
      ),
      { numRuns: 100 },
    );
  });
});
