import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ESP32_C3 } from "../../hosts/simulator/board.js";
import { goal, goalLine } from "../../tools/bench/area.js";
import { measureJournal } from "../../tools/bench/journal.js";
import { measureOnBoard } from "../../tools/bench/journal-board.js";
import { SECTOR_BYTES } from "../../tools/bench/journal-workload.js";
import { measureVerify } from "../../tools/bench/verify.js";
import { newEngine } from "../engine/boards.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

interface Mount {
  readonly kind: string;
  readonly reads: number;
  readonly bytes: number;
  readonly scan_bytes: number;
  readonly linear: boolean;
}
type Entry = Readonly<Record<string, number | string>> & { readonly mounts: readonly Mount[] };

function bench(...args: string[]): { stdout: string; stderr: string; status: number | null } {
  return spawnSync(process.execPath, ["--import", "tsx", "tools/bench/command.ts", ...args], {
    cwd: ROOT,
    encoding: "utf8",
  });
}

describe("npm run bench", () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-bench-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("measures the journal, and every figure of its design is met", async () => {
    const { json, table } = await measureJournal({ sectors: [16], records: ["smallest", 160], rounds: 1 });
    assert.deepEqual(
      json.goals.filter(({ met }) => !met),
      [],
    );
    for (const { key, measured } of json.goals) assert.equal(json[key], measured, key);
    for (const key of [
      "write_amplification_plain",
      "write_amplification_encrypted",
      "erases_per_record_plain",
      "erases_per_record_encrypted",
      "mount_reads",
      "mount_bytes",
      "mount_scan_bytes",
      "mount_reads_after_cut",
      "records_per_sector_encrypted",
      "records_at_100k_cycles",
      "ram_buffer_bytes",
    ])
      assert.ok(typeof json[key] === "number" && json[key] > 0, key);
    assert.equal((json["peers"] as readonly { source: string }[])[0]!.source, "journal design table");

    const matrix = json["matrix"] as readonly Entry[];
    // 16 and 64 sectors, two sizes of records, three write units: the design's workload is always measured.
    assert.equal(matrix.length, 12);
    for (const entry of matrix) {
      const shown = JSON.stringify(entry);
      // Below 1 nothing was counted: each record is programmed once at least.
      const amplification = Number(entry["write_amplification"]);
      assert.ok(amplification > 1 && amplification < 1.3, shown);
      assert.ok(Number(entry["wear_erases_most"]) - Number(entry["wear_erases_least"]) <= 1, shown);
      assert.equal(entry["records"], Math.round(Number(entry["records_per_sector"]) * Number(entry["sectors"])), shown);
      if (entry["record"] !== "smallest") assert.equal(entry["record_bytes_largest"], entry["record"], shown);
      assert.ok(Number(entry["cuts_tried"]) >= 20, shown);
      const kinds = entry.mounts.map(({ kind }) => kind);
      assert.deepEqual(kinds, ["formatted", "written", "just_opened", "after_cut", "full"], shown);
      for (const { reads, linear } of entry.mounts) assert.ok(reads > 0 && reads <= 16 && !linear, shown);
    }
    // Four times as many sectors are two more steps of the search, whatever a cut has left.
    for (const small of matrix.filter(({ sectors }) => sectors === 16)) {
      const large = matrix.find(
        (entry) =>
          entry["sectors"] === 64 &&
          entry["record"] === small["record"] &&
          entry["write_unit_bytes"] === small["write_unit_bytes"],
      )!;
      for (const [n, { kind, reads }] of small.mounts.entries())
        assert.ok(large.mounts[n]!.reads - reads <= 2, `${kind}: ${reads} and ${large.mounts[n]!.reads}`);
    }
    assert.ok(table.some((line) => line.includes("littlefs")));
  });

  describe("on a board's engine", () => {
    before(newEngine);

    it("finds the least memory that the journal runs in: its buffers, and little more", async () => {
      const { mountBytes, commitBytes, stackPeakSlots } = await measureOnBoard(1);
      assert.ok(mountBytes > SECTOR_BYTES && mountBytes <= commitBytes && commitBytes < 8192, `${commitBytes}`);
      assert.ok(stackPeakSlots > 0 && stackPeakSlots <= ESP32_C3.stackSlots);
    });
  });

  it("says of a figure that is not met that it is missed", () => {
    const missed = goal("mount_reads", "at most", 16, 17);
    assert.equal(missed.met, false);
    assert.equal(goalLine(missed), "MISSED  mount_reads 17, at most 16");
    assert.equal(goal("records_per_sector_encrypted", "at least", 20, 20).met, true);
  });

  it("measures every engine that verifies, and finds them of one mind", async function () {
    this.timeout(120_000);
    const { json, table } = await measureVerify({ quick: true });
    assert.equal(json["disagreements"], 0);
    assert.ok((json["cases"] as number) > 3000);
    for (const key of ["relay_engine", "node_crypto", "tweetnacl", "end_to_end"])
      assert.ok((json[`${key}_per_second`] as number) > 1, key);
    assert.equal((json["engines"] as readonly unknown[]).length, 6);
    assert.match(table.join("\n"), /native C on XS +[\d,.]+ {2}[\d.]+ of the relay's engine/);
  });

  it("writes the document where it is told to, and progress only to a terminal", async () => {
    const file = join(folder, "journal.json");
    const { status, stdout, stderr } = bench("journal", "--quick", "--json", file);
    assert.equal(status, 0, stdout + stderr);
    assert.equal(stderr, "");
    assert.match(stdout, /^met {5}write_amplification_plain 1\.09/m);
    const document = JSON.parse(readFileSync(file, "utf8"));
    const { json } = await measureJournal({ sectors: [], records: [] });
    // But for the memory, nothing in it depends on the machine or the moment.
    assert.deepEqual({ ...JSON.parse(JSON.stringify(json)), ram_buffer_bytes: document.ram_buffer_bytes }, document);
    assert.equal(document.area, "journal");
  });

  it("tells wrong usage by the status, and lists its areas", () => {
    const help = bench("--help");
    assert.equal(help.status, 0);
    assert.match(help.stdout, /journal {2}bytes programmed, erases, mount/);
    for (const [args, message] of [
      [["nonsense"], /'nonsense' is invalid for argument 'area'\. Allowed choices are journal/],
      [[], /missing required argument 'area'/],
      [["journal", "--quick", "--json", join(folder, "no", "where.json")], /ENOENT.*name a file that can be written/],
    ] as const) {
      const { status, stderr } = bench(...args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
    }
  });
});
