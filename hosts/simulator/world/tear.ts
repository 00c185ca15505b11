import type { SeededRandom } from "./random.js";

/**
 * What a flash operation leaves in the cells when the power goes in it. Programs: the bits that were to be cleared are
 * taken in the order of their addresses. Erases: NOR chips first program a sector to zeros, then erase it, so a cut leaves
 * zeros, a mixture, ones with a few zeros, or ones that are too weak to stay.
 */
export type Tear =
  /** Nothing was driven. */
  | { readonly kind: "before" }
  /** Everything was driven; the power went before anyone learnt of it. */
  | { readonly kind: "after" }
  /** Program: the first, or the last, `bits` of the bits to clear. The next one is unstable where `edge` says so. */
  | { readonly kind: "prefix" | "suffix"; readonly bits: number; readonly edge: boolean }
  /** Program: each bit to clear is cleared with the chance `share`, chosen by `seed`. */
  | { readonly kind: "subset"; readonly share: number; readonly seed: number }
  /** Program: all bits are cleared, but for the `bit`-th (modulo their number), which is unstable. */
  | { readonly kind: "unstable"; readonly bit: number }
  /** Erase: zeros from `share` of the sector on to its end. */
  | { readonly kind: "zeros"; readonly share: number }
  /** Erase: each cell is 1 with the chance `share`, chosen by `seed`; one in sixteen is unstable. */
  | { readonly kind: "mix"; readonly share: number; readonly seed: number }
  /** Erase: ones, but for at most `cells` zeros chosen by `seed`. */
  | { readonly kind: "nearly"; readonly cells: number; readonly seed: number }
  /** Erase: all ones at a glance, `cells` of them unstable, chosen by `seed`. */
  | { readonly kind: "weak"; readonly cells: number; readonly seed: number };

/** A program's tear of any kind. */
export function programTear(random: SeededRandom): Tear {
  switch (random.below(6)) {
    case 0:
      return { kind: "prefix", bits: someBits(random), edge: random.oneIn(2) };
    case 1:
      return { kind: "suffix", bits: someBits(random), edge: random.oneIn(2) };
    case 2:
      return { kind: "subset", share: random.next() / 0x100000000, seed: random.next() };
    case 3:
      return { kind: "unstable", bit: random.below(2048) };
    case 4:
      return { kind: "prefix", bits: 0, edge: true };
    default:
      return { kind: random.oneIn(2) ? "after" : "before" };
  }
}

/** Few as often as many: a frame's header has some forty bits to clear, a page up to 2,048. */
function someBits(random: SeededRandom): number {
  return random.below(2 ** random.below(12));
}

/** An erase's tear of any kind. */
export function eraseTear(random: SeededRandom): Tear {
  const share = random.below(64) / 64;
  switch (random.below(5)) {
    case 0:
      return { kind: "zeros", share };
    case 1:
      return { kind: "mix", share, seed: random.next() };
    case 2:
      return { kind: "nearly", cells: 1 + random.below(8), seed: random.next() };
    case 3:
      return { kind: "weak", cells: 1 + random.below(64), seed: random.next() };
    default:
      return { kind: random.oneIn(2) ? "after" : "before" };
  }
}

/** Tells that the bits of `mask` at a byte are unstable. */
export type Unsettle = (at: number, mask: number) => void;

/** Programs `bytes` into `cells` at `offset`, as far as the tear says. */
export function tearProgram(
  tear: Tear,
  bytes: Uint8Array,
  cells: Uint8Array,
  offset: number,
  unsettle: Unsettle,
): void {
  let total = 0;
  for (let i = 0; i < bytes.length; i++) total += ones(cells[offset + i]! & ~bytes[i]!);
  const random = lazyRandom(tear);
  const edge = tear.kind === "unstable" ? (total === 0 ? -1 : tear.bit % total) : undefined;
  let index = 0;
  for (let i = 0; i < bytes.length; i++) {
    for (let bit = 7; bit >= 0; bit--) {
      const mask = 1 << bit;
      if ((cells[offset + i]! & ~bytes[i]! & mask) === 0) continue;
      const fate = fateOf(tear, index++, total, edge, random);
      if (fate === "cleared") cells[offset + i]! &= ~mask;
      else if (fate === "unstable") unsettle(offset + i, mask);
    }
  }
}

function fateOf(
  tear: Tear,
  index: number,
  total: number,
  edge: number | undefined,
  random: (() => number) | undefined,
): "cleared" | "unstable" | "left" {
  switch (tear.kind) {
    case "prefix":
      return index < tear.bits ? "cleared" : index === tear.bits && tear.edge ? "unstable" : "left";
    case "suffix": {
      const fromEnd = total - 1 - index;
      return fromEnd < tear.bits ? "cleared" : fromEnd === tear.bits && tear.edge ? "unstable" : "left";
    }
    case "subset":
      return random!() < tear.share ? "cleared" : "left";
    case "unstable":
      return index === edge ? "unstable" : "cleared";
    default:
      throw new TypeError(`${tear.kind} is no tear of a program`);
  }
}

/** Leaves in a sector's cells what the tear says. */
export function tearErase(tear: Tear, cells: Uint8Array, unsettle: Unsettle): void {
  const random = lazyRandom(tear);
  switch (tear.kind) {
    case "zeros":
      cells.fill(0, Math.floor(tear.share * cells.length));
      return;
    case "mix":
      for (let i = 0; i < cells.length; i++) {
        let value = 0;
        let unstable = 0;
        for (let bit = 0; bit < 8; bit++) {
          const chance = random!();
          if (chance < tear.share) value |= 1 << bit;
          if (chance * 16 - Math.floor(chance * 16) < 1 / 16) unstable |= 1 << bit;
        }
        cells[i] = value;
        if (unstable !== 0) unsettle(i, unstable);
      }
      return;
    case "nearly":
      cells.fill(0xff);
      for (let n = 0; n < tear.cells; n++)
        cells[Math.floor(random!() * cells.length)]! &= ~(1 << Math.floor(random!() * 8));
      return;
    case "weak":
      cells.fill(0xff);
      for (let n = 0; n < tear.cells; n++)
        unsettle(Math.floor(random!() * cells.length), 1 << Math.floor(random!() * 8));
      return;
    default:
      throw new TypeError(`${tear.kind} is no tear of an erase`);
  }
}

function lazyRandom(tear: Tear): (() => number) | undefined {
  if (!("seed" in tear)) return undefined;
  let state = tear.seed >>> 0;
  // xorshift32: a tear may ask for a number a cell.
  if (state === 0) state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x100000000;
  };
}

function ones(byte: number): number {
  let count = 0;
  for (let rest = byte & 0xff; rest !== 0; rest &= rest - 1) count++;
  return count;
}
