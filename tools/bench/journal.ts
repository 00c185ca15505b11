import v8 from "node:v8";
import { runInNewContext } from "node:vm";
import { RESERVED_SECTORS } from "tallystick/journal/layout";
import { ESP32_C3 } from "../../hosts/simulator/board.js";
import { type Area, figure, goal, type Measured } from "./area.js";
import type { BoardMemory } from "./journal-board.js";
import {
  type Combination,
  fill,
  formatted,
  type MountCost,
  mountCost,
  mounted,
  mountsAfterCuts,
  mountsInASector,
  SECTOR_BYTES,
  type Written,
  writeRounds,
} from "./journal-workload.js";

/**
 * The journal on the simulator's NOR flash: everything here is counted by the flash, nothing is worked out from a layout.
 */
export const journalArea: Area = {
  name: "journal",
  description: "bytes programmed, erases, mount, memory and wear of the ring log in flash",
  run: ({ quick, progress }) => measureJournal({ progress, board: !quick, ...(quick && { sectors: [], records: [] }) }),
};

/** What is measured beside the design's workload. */
export interface JournalBench {
  readonly sectors?: readonly number[];
  readonly records?: readonly Combination["record"][];
  /** How often each sector is opened while it is counted. */
  readonly rounds?: number;
  /** Whether to find out as well what a board's engine needs; compiles the engine where that was never done. */
  readonly board?: boolean;
  readonly progress?: (line: string) => void;
}

const SECTORS = [16, 64, 512] as const;
const RECORDS = ["smallest", 160, 400] as const;
const UNITS = [1, 16, 32] as const;
const ROUNDS = 2;
/** The workload of the design's table; "encrypted" there is units of 32. */
const WORKLOAD = { sectors: 64, record: 160 } as const;
const ENCRYPTED_UNIT_BYTES = 32;
/** Erases that a sector of the boards' flash is good for. */
const CYCLES = 100_000;
/** Journals that are held at once to see what one of them holds. */
const HELD_JOURNALS = 64;
/** What one collection finds out to be free, the next one counts as freed. */
const COLLECTIONS = 3;

/** The same workload on others' stores. They were measured once, for the design, and are not run here. */
const PEERS = [
  {
    name: "littlefs",
    source: "journal design table",
    write_amplification_plain: 13.6,
    write_amplification_encrypted: 13.8,
    erases_per_record_plain: 1.03,
    erases_per_record_encrypted: 1.03,
    mount_reads: 717,
    mount_bytes: 7200,
    mount_reads_encrypted: 140,
    mount_bytes_encrypted: 6800,
    records_per_sector_encrypted: null,
  },
  {
    name: "FlashDB TSDB",
    source: "journal design table",
    write_amplification_plain: 1.09,
    write_amplification_encrypted: 1.8,
    erases_per_record_plain: 0.04,
    erases_per_record_encrypted: 0.108,
    mount_reads: 157,
    mount_bytes: 4600,
    mount_reads_encrypted: 135,
    mount_bytes_encrypted: 84_000,
    records_per_sector_encrypted: 8.9,
  },
] as const;

/**
 * `formatted`: without a record. `written`: the ordinary start, the median of mounts behind each record of a sector.
 * `just_opened`: the worst of them, behind a sector's first record, which nothing names yet, so that the sector before is
 * read as well. `after_cut`: the worst of all cuts tried, with what recovery reads back. `full`: nothing was released.
 */
const MOUNT_KINDS = ["formatted", "written", "just_opened", "after_cut", "full"] as const;
type MountKind = (typeof MOUNT_KINDS)[number];

interface Measurement {
  readonly combination: Combination;
  readonly written: Written;
  readonly mounts: Readonly<Record<MountKind, MountCost>>;
  readonly cutsTried: number;
  readonly recordsHeldFull: number;
}

/** Measures every combination; the top level is the design's workload, which is always among them. */
export async function measureJournal(options: JournalBench = {}): Promise<Measured> {
  const { sectors = SECTORS, records = RECORDS, rounds = ROUNDS, progress } = options;
  // First of all, while nothing of what is measured below waits to be collected.
  const ramBufferBytes = Math.max(...UNITS.map((writeUnitBytes) => heldBuffers({ ...WORKLOAD, writeUnitBytes })));
  const measurements: Measurement[] = [];
  const combinations = combinationsOf(new Set([...sectors, WORKLOAD.sectors]), new Set([...records, WORKLOAD.record]));
  for (const combination of combinations) {
    progress?.(`journal: ${measurements.length + 1} of ${combinations.length}: ${wordsOf(combination)}`);
    measurements.push(measure(combination, rounds));
  }
  if (options.board) progress?.("journal: on a board's engine");
  const board = options.board ? await onBoards() : undefined;
  const plain = workloadOf(measurements, 1);
  const encrypted = workloadOf(measurements, ENCRYPTED_UNIT_BYTES);
  // Of the two, what is worse is what the design's goal is about.
  const mount = worst([plain.mounts.written, encrypted.mounts.written]);
  const afterCut = worst([plain.mounts.after_cut, encrypted.mounts.after_cut]);
  const top = {
    write_amplification_plain: amplification(plain),
    write_amplification_encrypted: amplification(encrypted),
    erases_per_record_plain: erasesARecord(plain),
    erases_per_record_encrypted: erasesARecord(encrypted),
    mount_reads: mount.reads,
    mount_bytes: mount.bytes,
    mount_scan_bytes: mount.scanBytes,
    mount_reads_after_cut: afterCut.reads,
    records_per_sector_plain: recordsASector(plain),
    records_per_sector_encrypted: recordsASector(encrypted),
    ram_buffer_bytes: ramBufferBytes,
    ...(board && {
      ram_board_mount_bytes: board.mountBytes,
      ram_board_bytes: board.commitBytes,
      stack_peak_slots: board.stackPeakSlots,
    }),
    wear_spread_erases: Math.max(...measurements.map(wearSpread)),
    records_at_100k_cycles: Math.min(recordsOfALife(plain), recordsOfALife(encrypted)),
  };
  const goals = [
    goal("write_amplification_plain", "at most", 1.1, top.write_amplification_plain),
    goal("write_amplification_encrypted", "at most", 1.25, top.write_amplification_encrypted),
    goal("erases_per_record_plain", "at most", 0.046, top.erases_per_record_plain),
    goal("erases_per_record_encrypted", "at most", 0.048, top.erases_per_record_encrypted),
    goal("mount_reads", "at most", 16, top.mount_reads),
    goal("mount_bytes", "at most", 1024, top.mount_bytes),
    goal("mount_reads_after_cut", "at most", 16, top.mount_reads_after_cut),
    goal("records_per_sector_encrypted", "at least", 20, top.records_per_sector_encrypted),
    goal("wear_spread_erases", "at most", 1, top.wear_spread_erases),
    goal("records_at_100k_cycles", "at least", 130_000_000, top.records_at_100k_cycles),
  ];
  const workload = `append and release each record, ${WORKLOAD.sectors} sectors of ${SECTOR_BYTES} bytes, ${WORKLOAD.record}-byte records, encrypted in units of ${ENCRYPTED_UNIT_BYTES}`;
  return {
    json: { area: "journal", workload, ...top, goals, peers: PEERS, matrix: measurements.map(matrixEntry) },
    table: [
      `journal: ${workload}`,
      "",
      ...peerTable(top),
      `buffers that a mounted journal keeps: ${figure(ramBufferBytes)} bytes`,
      ...(board
        ? [
            `memory that it needs on a board's engine, with garbage: ${figure(board.commitBytes)} bytes, and ${board.stackPeakSlots} of the C3's ${ESP32_C3.stackSlots} stack slots`,
          ]
        : []),
      "",
      ...matrixTable(measurements),
    ],
  };
}

function wordsOf({ sectors, record, writeUnitBytes }: Combination): string {
  const flash = writeUnitBytes === 1 ? "plain" : `units of ${writeUnitBytes}`;
  return `${sectors} sectors, ${flash}, ${record === "smallest" ? "smallest records" : `records of ${record} bytes`}`;
}

function combinationsOf(
  sectorCounts: ReadonlySet<number>,
  records: ReadonlySet<Combination["record"]>,
): readonly Combination[] {
  return [...sectorCounts]
    .sort((a, b) => a - b)
    .flatMap((sectors) =>
      [...records].flatMap((record) => UNITS.map((writeUnitBytes) => ({ sectors, record, writeUnitBytes }))),
    );
}

function measure(combination: Combination, rounds: number): Measurement {
  const flash = formatted(combination);
  const fresh = mountCost(flash);
  const written = writeRounds(flash, combination, rounds);
  const remounts = mountsInASector(flash, combination);
  const cut = mountsAfterCuts(flash, combination);
  const full = formatted(combination);
  const recordsHeldFull = fill(full, combination);
  return {
    combination,
    written,
    mounts: {
      formatted: fresh,
      written: median(remounts),
      just_opened: worst(remounts),
      after_cut: worst(cut),
      full: mountCost(full),
    },
    cutsTried: cut.length,
    recordsHeldFull,
  };
}

function median(costs: readonly MountCost[]): MountCost {
  const sorted = [...costs].sort((a, b) => a.bytes + a.scanBytes - (b.bytes + b.scanBytes) || a.reads - b.reads);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** The most of both modes. */
async function onBoards(): Promise<BoardMemory> {
  // Here and not above: engine and compiler are large, and the figures of the flash need neither.
  const { measureOnBoard } = await import("./journal-board.js");
  const plain = await measureOnBoard(1);
  const encrypted = await measureOnBoard(ENCRYPTED_UNIT_BYTES);
  return {
    mountBytes: Math.max(plain.mountBytes, encrypted.mountBytes),
    commitBytes: Math.max(plain.commitBytes, encrypted.commitBytes),
    stackPeakSlots: Math.max(plain.stackPeakSlots, encrypted.stackPeakSlots),
  };
}

/** The largest of each figure: they need not come from one mount. */
function worst(costs: readonly MountCost[]): MountCost {
  const most = (of: (cost: MountCost) => number): number => Math.max(...costs.map(of));
  return {
    reads: most(({ reads }) => reads),
    bytes: most(({ bytes }) => bytes),
    scanReads: most(({ scanReads }) => scanReads),
    scanBytes: most(({ scanBytes }) => scanBytes),
    programs: most(({ programs }) => programs),
    erases: most(({ erases }) => erases),
    linear: costs.some(({ linear }) => linear),
  };
}

/** Bytes of buffers that a mounted journal keeps: what Node counts outside of its heap, for many journals, divided. */
function heldBuffers(combination: Combination): number {
  v8.setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const flash = formatted(combination);
  const held: unknown[] = [mounted(flash)];
  const settled = (): number => {
    for (let n = 0; n < COLLECTIONS; n++) collect();
    return process.memoryUsage().arrayBuffers;
  };
  const before = settled();
  for (let n = 0; n < HELD_JOURNALS; n++) held.push(mounted(flash));
  const bytes = settled() - before;
  // `held` is used behind the measurement: it must not be collected before.
  return Math.round(bytes / (held.length - 1));
}

function workloadOf(measurements: readonly Measurement[], unitBytes: number): Measurement {
  return measurements.find(
    ({ combination: { sectors, record, writeUnitBytes } }) =>
      sectors === WORKLOAD.sectors && record === WORKLOAD.record && writeUnitBytes === unitBytes,
  )!;
}

const amplification = ({ written }: Measurement): number => written.bytesProgrammed / written.payloadBytes;
const erasesARecord = ({ written }: Measurement): number => written.erases / written.records;
const recordsASector = ({ written }: Measurement): number => written.records / written.erases;
const wearSpread = ({ written }: Measurement): number => written.erasesMost - written.erasesLeast;
const recordsOfALife = (measurement: Measurement): number =>
  Math.floor(CYCLES * measurement.combination.sectors * recordsASector(measurement));

function matrixEntry(measurement: Measurement) {
  const { combination, written, mounts, cutsTried, recordsHeldFull } = measurement;
  return {
    sectors: combination.sectors,
    write_unit_bytes: combination.writeUnitBytes,
    record: combination.record,
    record_bytes_smallest: written.recordBytes.smallest,
    record_bytes_largest: written.recordBytes.largest,
    records: written.records,
    payload_bytes: written.payloadBytes,
    bytes_programmed: written.bytesProgrammed,
    write_amplification: amplification(measurement),
    erases: written.erases,
    erases_per_record: erasesARecord(measurement),
    records_per_sector: recordsASector(measurement),
    records_held_full: recordsHeldFull,
    wear_erases_most: written.erasesMost,
    wear_erases_least: written.erasesLeast,
    records_at_100k_cycles: recordsOfALife(measurement),
    cuts_tried: cutsTried,
    mounts: MOUNT_KINDS.map((kind) => {
      const { reads, bytes, scanReads, scanBytes, programs, erases, linear } = mounts[kind];
      return { kind, reads, bytes, scan_reads: scanReads, scan_bytes: scanBytes, programs, erases, linear };
    }),
  };
}

function peerTable(top: Readonly<Record<string, number>>): string[] {
  const keys = Object.keys(PEERS[0]).filter((key) => key !== "name" && key !== "source" && key in top);
  const rows = keys.map((key) => [
    key,
    figure(top[key]!),
    ...PEERS.map((peer) => {
      const value = (peer as unknown as Readonly<Record<string, number | null>>)[key];
      return value === null || value === undefined ? "–" : figure(value);
    }),
  ]);
  return [
    ...columns([["", "journal", ...PEERS.map(({ name }) => name)], ...rows]),
    "littlefs and FlashDB: from the journal's design, on the same workload; mounts are those on plain flash",
  ];
}

function matrixTable(measurements: readonly Measurement[]): string[] {
  const head = ["sectors", "unit", "record", "× payload", "erases/record", "records/sector", "when full", "wear"];
  const rows = measurements.map((measurement) => {
    const { combination, written, mounts, recordsHeldFull } = measurement;
    const { smallest, largest } = written.recordBytes;
    return [
      String(combination.sectors),
      String(combination.writeUnitBytes),
      smallest === largest ? String(largest) : `${smallest}–${largest}`,
      amplification(measurement).toFixed(3),
      erasesARecord(measurement).toFixed(4),
      recordsASector(measurement).toFixed(1),
      figure(recordsHeldFull),
      String(wearSpread(measurement)),
      ...MOUNT_KINDS.map((kind) => mountCell(mounts[kind])),
    ];
  });
  return [
    ...columns([[...head, ...MOUNT_KINDS.map((kind) => `mount ${kind}`)], ...rows]),
    `when full: records held in all but the ${RESERVED_SECTORS} reserved sectors; wear: between the most and the least erased sector`,
    "mounts: reads (bytes) but for the head sector's scan; after_cut: the worst of all tried, with what recovery reads back",
    "linear: every sector's header was read, since the search met one that does not fit",
  ];
}

function mountCell({ reads, bytes, linear }: MountCost): string {
  return `${reads} (${figure(bytes)})${linear ? " linear" : ""}`;
}

/** Rows with their cells below each other. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}
