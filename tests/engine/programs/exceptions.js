// biome-ignore-all lint: what no one should write is what an engine must get right.
// biome-ignore-all format: one case a line.
// Exceptions through every kind of frame: interpreter to interpreter, and through each native that calls back.
const thrower = (what) => () => {
  throw new RangeError(what);
};

class Failing extends Error {
  name = "Failing";
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** Every native here calls the thrower, with frames of C between it and the catch. */
const THROUGH = {
  direct: (f) => f(),
  call: (f) => f.call(null),
  apply: (f) => f.apply(null, []),
  bind: (f) => f.bind(null)(),
  reflect: (f) => Reflect.apply(f, null, []),
  construct: (f) => Reflect.construct(function () { f(); }, []),
  forEach: (f) => [1].forEach(f),
  map: (f) => [1].map(f),
  filter: (f) => [1].filter(f),
  find: (f) => [1].find(f),
  findIndex: (f) => [1].findIndex(f),
  some: (f) => [1].some(f),
  every: (f) => [1].every(f),
  reduce: (f) => [1, 2].reduce(f),
  reduceRight: (f) => [1, 2].reduceRight(f),
  flatMap: (f) => [1].flatMap(f),
  sort: (f) => [2, 1, 3].sort(f),
  from: (f) => Array.from([1], f),
  typedSort: (f) => new Uint8Array([2, 1]).sort(f),
  typedMap: (f) => new Uint8Array([2, 1]).map(f),
  typedFrom: (f) => Uint8Array.from([1], f),
  mapForEach: (f) => new Map([[1, 2]]).forEach(f),
  setForEach: (f) => new Set([1]).forEach(f),
  getter: (f) => ({ get x() { return f(); } }).x,
  setter: (f) => { ({ set x(_) { f(); } }).x = 1; },
  toString: (f) => `${{ toString: f }}`,
  valueOf: (f) => +{ valueOf: f },
  toPrimitive: (f) => 1 + { [Symbol.toPrimitive]: f },
  keyToString: (f) => ({})[{ toString: f }],
  stringify: (f) => JSON.stringify({ toJSON: f }),
  replacer: (f) => JSON.stringify({ a: 1 }, f),
  reviver: (f) => JSON.parse('{"a":[1,2]}', f),
  replace: (f) => "aba".replace(/b/, f),
  replaceAll: (f) => "aba".replaceAll("a", f),
  split: (f) => "a".split({ [Symbol.split]: f }),
  regexpExec: (f) => RegExp.prototype[Symbol.match].call({ exec: f, flags: "", global: false }, "a"),
  iterator: (f) => { for (const _ of { [Symbol.iterator]: f }); },
  next: (f) => { for (const _ of { [Symbol.iterator]: () => ({ next: f }) }); },
  spread: (f) => [...{ [Symbol.iterator]: () => ({ next: f }) }],
  spreadCall: (f) => Math.max(...{ [Symbol.iterator]: () => ({ next: f }) }),
  destructure: (f) => { const [a] = { [Symbol.iterator]: () => ({ next: f }) }; return a; },
  defaultValue: (f) => { const { a = f() } = {}; return a; },
  parameter: (f) => ((a = f()) => a)(),
  generator: (f) => [...(function* () { yield f(); })()],
  delegate: (f) => [...(function* () { yield* { [Symbol.iterator]: f }; })()],
  generatorThrow: (f) => { const g = (function* () { try { yield 1; } finally { f(); } })(); g.next(); g.return(); },
  proxyGet: (f) => new Proxy({}, { get: f }).x,
  proxySet: (f) => { new Proxy({}, { set: f }).x = 1; },
  proxyHas: (f) => "x" in new Proxy({}, { has: f }),
  proxyDelete: (f) => delete new Proxy({}, { deleteProperty: f }).x,
  proxyOwnKeys: (f) => Object.keys(new Proxy({}, { ownKeys: f })),
  proxyApply: (f) => new Proxy(() => 1, { apply: f })(),
  proxyConstruct: (f) => new (new Proxy(class {}, { construct: f }))(),
  proxyPrototype: (f) => Object.getPrototypeOf(new Proxy({}, { getPrototypeOf: f })),
  proxyDefine: (f) => Object.defineProperty(new Proxy({}, { defineProperty: f }), "x", { value: 1 }),
  assign: (f) => Object.assign({}, { get x() { return f(); } }),
  entries: (f) => Object.entries({ get x() { return f(); } }),
  fromEntries: (f) => Object.fromEntries({ [Symbol.iterator]: f }),
  mapConstructor: (f) => new Map({ [Symbol.iterator]: f }),
  hasInstance: (f) => ({}) instanceof { [Symbol.hasInstance]: f },
  superConstructor: (f) => new (class extends (class { constructor() { f(); } }) {})(),
  field: (f) => new (class { x = f(); })(),
  staticField: (f) => (class { static x = f(); }).x,
  privateMethod: (f) => new (class { #x() { return f(); } y() { return this.#x(); } })().y(),
  computedKey: (f) => ({ [f()]: 1 }),
  template: (f) => ((strings, value) => value())`a${f}b`,
  optionalCall: (f) => ({ f })?.f?.(),
  nullish: (f) => null ?? f(),
  logical: (f) => true && f(),
  concat: (f) => [].concat({ get [Symbol.isConcatSpreadable]() { return f(); } }),
  species: (f) => { class A extends Array { static get [Symbol.species]() { return f(); } } return new A(1).map((x) => x); },
  dateString: (f) => new Date({ [Symbol.toPrimitive]: f }),
  bigint: (f) => BigInt({ valueOf: f, toString: f }),
};

export default async function exceptions(print) {
  const throwing = thrower("through");
  for (const [name, through] of Object.entries(THROUGH)) {
    let depth = 0;
    const order = [];
    // Twice through each, the second time from within a catch and a finally: the list of catches must stay in order.
    try {
      try {
        depth++;
        through(throwing);
        order.push("no error");
      } catch (error) {
        order.push(error.constructor.name, error.message, depth);
        try {
          depth++;
          through(throwing);
        } finally {
          order.push("finally", depth);
        }
      } finally {
        order.push("outer");
      }
    } catch (error) {
      order.push(error.message);
    }
    print(name, order.join(" "));
  }
  // The same through frames that hold many catches, and through a frame that was left and entered again.
  for (const [name, through] of Object.entries(THROUGH)) {
    const seen = [];
    const nest = (n) => {
      if (n === 0) through(throwing);
      try {
        nest(n - 1);
      } catch (error) {
        seen.push(n);
        throw error;
      } finally {
        seen.push(-n);
      }
    };
    try {
      nest(4);
    } catch (error) {
      seen.push(error.message);
    }
    print("nested", name, seen.join(" "));
  }

  const results = [];
  for (let i = 0; i < 1000; i++) {
    try {
      if (i % 3 === 0) throw i;
      if (i % 3 === 1) [i].forEach(() => { throw -i; });
      results.push(i);
    } catch (thrown) {
      results.push(thrown);
    }
  }
  print("many", results.reduce((a, b) => (a * 31 + b) | 0, 0), results.length);

  const finallyWins = () => { try { throw 1; } finally { return 2; } };
  const finallyContinues = () => { let n = 0; for (let i = 0; i < 5; i++) { try { if (i === 2) throw i; n += i; } catch { continue; } finally { n += 100; } } return n; };
  const finallyBreaks = () => { let n = 0; outer: for (;;) { for (;;) { try { n++; if (n > 3) break outer; continue; } finally { n += 10; } } } return n; };
  const finallyOverrides = () => { try { return "try"; } finally { results.length = 0; } };
  print(finallyWins(), finallyContinues(), finallyBreaks(), finallyOverrides(), results.length);

  for (const value of [undefined, null, 0, "text", Symbol.iterator, 1n, { a: 1 }, [1, 2]]) {
    try {
      throw value;
    } catch (caught) {
      print("value", caught === value, typeof caught);
    }
  }
  for (const f of [
    () => undefinedName,
    () => null.x,
    () => undefined.x(),
    () => (void 0)(),
    () => new (() => 1)(),
    () => Symbol() + "",
    () => ({}).x.y,
    () => { "use strict"; Object.freeze([1]).push(2); },
    () => { Object.defineProperty({}, "x", { value: 1 }).x = 2; },
    () => { const c = 1; c = 2; return c; },
    () => { early; let early = 1; return early; },
    () => new Array(-1),
    () => "a".repeat(-1),
    () => (1).toFixed(101),
    () => (1).toString(1),
    () => JSON.parse("{bad"),
    () => JSON.stringify((() => { const o = {}; o.o = o; return o; })()),
    () => new RegExp("("),
    () => decodeURIComponent("%"),
    () => "a".normalize("x"),
    () => BigInt(1.5),
    () => 1n + 1,
    () => BigInt("x"),
    () => 1n / 0n,
    () => [].reduce((a) => a),
    () => new Proxy({}, null),
    () => Reflect.construct(1),
    () => class extends null { constructor() { super(); } } && new (class extends Object { constructor() { this.x = 1; } })(),
    () => { class P { #x = 1; static read(o) { return o.#x; } } return P.read({}); },
    () => { for (const x of 5) return x; },
    () => { const [x] = null; return x; },
    () => { const { x } = undefined; return x; },
    () => { throw new Failing("own", 7); },
    () => { throw new AggregateError([new Error("a"), new TypeError("b")], "many"); },
  ]) {
    try {
      print("no error", String(f()));
    } catch (error) {
      print(error.constructor.name, error.name, error instanceof Error, error.code ?? "", error.errors?.length ?? "");
    }
  }
  const cause = new Error("outer", { cause: new Error("inner") });
  print(cause.message, cause.cause.message, Object.prototype.toString.call(cause), String(new Failing("text")));

  const closed = [];
  const source = { [Symbol.iterator]: () => ({ next: () => ({ value: 1, done: false }), return: () => (closed.push("return"), {}) }) };
  try { for (const _ of source) throw new Error("in loop"); } catch (error) { closed.push(error.message); }
  for (const _ of source) break;
  const [first] = source;
  closed.push(first);
  try { new Map(source); } catch (error) { closed.push(error.constructor.name); }
  try { Array.from(source, () => { throw new Error("mapper"); }); } catch (error) { closed.push(error.message); }
  print("closing", closed.join(" "));

  const asyncThrough = {
    await: async (f) => { await null; f(); },
    then: (f) => Promise.resolve().then(f),
    executor: (f) => new Promise(f),
    thenable: (f) => Promise.resolve({ then: f }),
    all: (f) => Promise.all([1, Promise.resolve().then(f)]),
    any: (f) => Promise.any([Promise.resolve().then(f)]),
    race: (f) => Promise.race([Promise.resolve().then(f)]),
    asyncGenerator: async (f) => { for await (const _ of (async function* () { yield 1; f(); })()); },
    forAwait: async (f) => { for await (const _ of [Promise.resolve().then(f)]); },
    finally: (f) => Promise.resolve().finally(f),
    asyncFinally: async (f) => { try { await null; f(); } finally { await null; } },
    asyncArrow: async (f) => await (async () => f())(),
    nested: async (f) => { try { await (async () => { await null; f(); })(); } catch (error) { await null; throw error; } },
  };
  for (const [name, through] of Object.entries(asyncThrough)) {
    try {
      await through(throwing);
      print("async", name, "no error");
    } catch (error) {
      print("async", name, error.constructor.name, error.errors?.[0].message ?? error.message);
    }
  }
  const settled = await Promise.allSettled([1, Promise.reject(new TypeError("no")), new Promise((resolve) => resolve(3))]);
  print(settled.map(({ status, value, reason }) => `${status} ${value ?? reason.message}`).join());

  const down = (n) => {
    if (n === 0) throw new Error("bottom");
    try {
      return down(n - 1) + 1;
    } finally {
      results.push(n);
    }
  };
  results.length = 0;
  try {
    down(60);
  } catch (error) {
    print(error.message, results.length, results[0], results.at(-1));
  }
}
