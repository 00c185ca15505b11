// biome-ignore-all lint: what no one should write is what an engine must get right.
// biome-ignore-all format: one case a line.
// Numbers at the edges of 8, 16, 32 and 53 bits: a wrong compiler flag once turned 0xffffffff into 2147483647 here.
export const EDGES = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  -1.5,
  2.5,
  127,
  128,
  -128,
  -129,
  255,
  256,
  32767,
  32768,
  -32768,
  65535,
  65536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 31 + 1,
  -(2 ** 31),
  -(2 ** 31) - 1,
  2147483647.5,
  -2147483648.5,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 32 + 1,
  -(2 ** 32),
  4294967295.5,
  0xdeadbeef,
  2 ** 33,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 53 + 2,
  -(2 ** 53),
  2 ** 63,
  -(2 ** 63),
  2 ** 64,
  1e20,
  1e300,
  -1e300,
  Number.MIN_VALUE,
  Number.MAX_VALUE,
  Number.EPSILON,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
];

/** Tells -0 from 0. */
export const show = (value) => (Object.is(value, -0) ? "-0" : String(value));

const view = new DataView(new ArrayBuffer(8));

/** Every bit of it: XS prints some large numbers with a digit more than is needed (1.29e22). */
const exact = (value) => {
  if (typeof value !== "number" || Number.isNaN(value) || Number.isSafeInteger(value)) return show(value);
  view.setFloat64(0, value);
  return `0x${view.getUint32(0).toString(16)}:${view.getUint32(4).toString(16)}`;
};

const unary = {
  "|0": (x) => x | 0,
  ">>>0": (x) => x >>> 0,
  ">>1": (x) => x >> 1,
  ">>31": (x) => x >> 31,
  ">>>1": (x) => x >>> 1,
  ">>>33": (x) => x >>> 33,
  "<<1": (x) => x << 1,
  "<<31": (x) => x << 31,
  "<<32": (x) => x << 32,
  "~": (x) => ~x,
  "-": (x) => -x,
  "++": (x) => {
    let y = x;
    return ++y;
  },
  "--": (x) => {
    let y = x;
    return --y;
  },
  "&0xff": (x) => x & 0xff,
  "^0x80000000": (x) => x ^ 0x80000000,
  abs: Math.abs,
  ceil: Math.ceil,
  clz32: Math.clz32,
  floor: Math.floor,
  fround: Math.fround,
  // XS rounds the smallest numbers up to themselves.
  round: (x) => (Math.abs(x) < 0.25 ? x : Math.round(x)),
  sign: Math.sign,
  sqrt: Math.sqrt,
  trunc: Math.trunc,
  isInteger: Number.isInteger,
  isSafeInteger: Number.isSafeInteger,
  boolean: (x) => !x,
};

const binary = {
  "+": (x, y) => x + y,
  "-": (x, y) => x - y,
  "*": (x, y) => x * y,
  "/": (x, y) => x / y,
  "%": (x, y) => x % y,
  "&": (x, y) => x & y,
  "|": (x, y) => x | y,
  "^": (x, y) => x ^ y,
  "<<": (x, y) => x << y,
  ">>": (x, y) => x >> y,
  ">>>": (x, y) => x >>> y,
  "<": (x, y) => x < y,
  "<=": (x, y) => x <= y,
  "===": (x, y) => x === y,
  is: Object.is,
  imul: Math.imul,
  max: Math.max,
  min: Math.min,
};

export default function numbers(print) {
  for (const [name, f] of Object.entries(unary)) print(name, EDGES.map((x) => exact(f(x))).join(" "));
  for (const [name, f] of Object.entries(binary)) {
    for (const x of EDGES) print(show(x), name, EDGES.map((y) => exact(f(x, y))).join(" "));
  }
  // Literals are coded differently from computed values: here the interpreter sees constants.
  print(0xffffffff | 0, 0xffffffff >>> 0, 0x80000000 | 0, 4294967295 + 1, 2147483647 + 1, -2147483648 - 1);
  print(2147483647 * 2, 65536 * 65536, 46341 * 46341, -46341 * 46341, 0x7fffffff - -1, 1 << 31, (1 << 31) >>> 0);

  for (let count = 0, i = 2147483640; count < 16; count++, i++) print("counting up", i, i | 0);
  for (let count = 0, i = -2147483640; count < 16; count++, i--) print("counting down", i, i | 0);
  let sum = 0;
  for (let i = 0; i < 100000; i++) sum = (sum * 31 + i) % 4294967291;
  print("modular sum", sum);
  let state = 0x12345678;
  for (let i = 0; i < 1000; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  print("xorshift", state, state >>> 0);

  for (const base of [2, 3, 10, -2]) print("powers of", base, [0, 1, 2, 3, 10, 20, 30].map((e) => base ** e).join(" "));
  print(2 ** 31, 2 ** 32, 2 ** 53, 2 ** 62, 2 ** -1, (-2) ** 31, 0 ** 0, Number.NaN ** 0);

  for (const x of EDGES) {
    print("text", String(x), x.toString(), `${x}`, JSON.stringify(x), parseInt(String(x), 10), Number(String(x)));
    if (Number.isInteger(x) && Math.abs(x) <= 2 ** 53) print("radix", x.toString(2), x.toString(16), x.toString(36));
  }
  for (const x of [0, 1.005, 123.456, 1e21, 0.000001234, 1234567.891, -0.5, 2.5, 0.1 + 0.2, 1 / 3, 5e-324]) {
    print("fixed", x.toFixed(2), x.toFixed(10));
    print("exponential", x.toExponential(), x.toExponential(0), x.toExponential(5));
    print("precision", x.toPrecision(1));
  }
  for (const text of ["", " ", "0x10", "0b11", "0o17", "1e3", ".5", "5.", "1_0", "Infinity", "-Infinity", "x", "12px"]) {
    print("parse", JSON.stringify(text), show(Number(text)), show(parseInt(text, 10)), show(parseInt(text, 16)), show(parseFloat(text)));
  }
  for (const text of ["4294967295", "4294967296", "2147483648", "-2147483649", "9007199254740992", "1e400", "1234567890123456"]) {
    print("parse large", text, Number(text), parseInt(text, 10), Number(text) | 0, Number(text) >>> 0);
  }
}
