// biome-ignore-all lint: what no one should write is what an engine must get right.
// biome-ignore-all format: one case a line.
// Generators, the order of asynchronous code, labels, destructuring, classes.
export default async function control(print) {
  function* count(n) { for (let i = 0; i < n; i++) { const got = yield i; if (got) print("got", got); } return "done"; }
  const g = count(3);
  print(JSON.stringify([g.next("ignored"), g.next("a"), g.next(), g.next("b"), g.next()]));
  print(JSON.stringify([...count(4)]), JSON.stringify(count(2).return(9)));
  function* guarded() {
    for (;;) {
      try { yield "in"; } catch (error) { print("caught", error); yield "after catch"; } finally { print("finally"); yield "in finally"; }
    }
  }
  const h = guarded();
  print(h.next().value, h.throw("x").value, h.next().value, h.next().value, JSON.stringify(h.return(5)), JSON.stringify(h.next()));
  function* outer() { const inner = yield* count(2); print("inner", inner); yield* [7, 8]; yield* "ab"; }
  print([...outer()].join());
  const fibonacci = { *[Symbol.iterator]() { let [a, b] = [0, 1]; while (a < 1000) { yield a; [a, b] = [b, a + b]; } } };
  print([...fibonacci].join(), Math.max(...fibonacci), Array.from(fibonacci, (x) => x % 7).join());
  const many = Array.from({ length: 20 }, (_, i) => count(i));
  let live = many.length;
  let steps = 0;
  while (live > 0) { live = 0; for (const one of many) { steps++; if (!one.next().done) live++; } }
  print("interleaved", steps);

  const order = [];
  const log = (x) => order.push(x);
  const later = async (name, turns) => { for (let i = 0; i < turns; i++) { log(`${name}${i}`); await null; } return name; };
  const first = later("a", 3);
  const second = later("b", 2).then((x) => { log(`then ${x}`); return x; });
  Promise.resolve().then(() => log("job 1")).then(() => log("job 2")).then(() => log("job 3"));
  (async () => { log("sync part"); await undefined; log("after await"); await new Promise((resolve) => resolve(Promise.resolve())); log("after promise"); })();
  Promise.reject(new Error("x")).catch(() => log("catch")).finally(() => log("finally"));
  ({ then(resolve) { log("thenable"); resolve(1); } }).then(() => log("not a promise"));
  Promise.resolve({ then(resolve) { log("adopted"); resolve("t"); } }).then((x) => log(x));
  log("end of sync");
  print(await Promise.all([first, second, 3]), await Promise.race([first, 1]), await Promise.any([Promise.reject(1), 2]));
  print(order.join());
  async function* ticks(n) { try { for (let i = 0; i < n; i++) yield i; } finally { log("closed"); } }
  const seen = [];
  for await (const tick of ticks(5)) { seen.push(tick); if (tick === 3) break; }
  for await (const x of [1, Promise.resolve(2), (async () => 3)()]) seen.push(x);
  print(seen.join(), order.at(-1));
  const source = ticks(3);
  print(JSON.stringify(await Promise.all([source.next(), source.next(), source.next(), source.next(), source.next()])));

  const path = [];
  outer: for (let i = 0; i < 4; i++) {
    inner: for (let j = 0; j < 4; j++) {
      if (j === 2) continue outer;
      if (i === 2) break outer;
      switch (i + j) { case 0: path.push("zero"); case 1: path.push("one"); break; case 9: continue inner; default: path.push("other"); }
    }
  }
  block: { path.push("in block"); if (path.length > 2) break block; path.push("never"); }
  let n = 0;
  do { n++; if (n === 2) continue; if (n > 5) break; } while (n < 100);
  const closures = [];
  for (let i = 0; i < 3; i++) closures.push(() => i++);
  print(path.join(), n, closures.map((f) => f() + f()).join());
  for (const key in { b: 1, a: 2, 2: 3, 1: 4 }) path.push(key);
  for (const key in [5, 6]) path.push(key);
  print(path.join());

  const { a, b: { c = 5, ...rest } = {}, ...others } = { a: 1, b: { d: 2, e: 3 }, f: 4, g: 5 };
  const [x, , y = 9, ...z] = [1, 2, undefined, 4, 5];
  let [p, q] = [1, 2];
  [p, q] = [q, p];
  const pick = ({ a: [{ b }] = [{ b: "default" }], ...more }, ...tail) => [b, JSON.stringify(more), tail.length].join("|");
  print(a, c, JSON.stringify(rest), JSON.stringify(others), x, y, z.join(), p, q, pick({}), pick({ a: [{ b: 1 }], z: 2 }, 3, 4));
  print(JSON.stringify({ ...{ a: 1, b: 2 }, b: 3, ...null, ..."hi", ...[9] }), [...[1, 2], ...new Set([2, 3]), ...new Map([[1, 2]])].join("|"));

  class Base {
    static #made = 0;
    static made() { return Base.#made; }
    #secret = 1;
    open = this.#secret + 1;
    "quoted key" = 3;
    [`computed${1 + 1}`] = 4;
    static shared = "static";
    static { Base.block = `${Base.shared} block`; }
    constructor(add = 0) { this.#secret += add; Base.#made++; }
    get secret() { return this.#secret; }
    set secret(value) { this.#secret = value * 2; }
    #hidden() { return this.#secret * 10; }
    reveal() { return this.#hidden(); }
    static is(object) { return #secret in object; }
    toString() { return `Base ${this.#secret}`; }
  }
  class Derived extends Base {
    own = super.reveal();
    constructor() { super(5); this.after = this.own; }
    reveal() { return super.reveal() + 1; }
    get secret() { return -super.secret; }
    static made() { return super.made() + 100; }
  }
  const base = new Base();
  base.secret = 21;
  const derived = new Derived();
  print(base.secret, base.reveal(), base.open, `${base}`, Object.keys(base).join(), Base.block, Base.is(base), Base.is({}));
  print(derived.secret, derived.reveal(), derived.own, derived.after, `${derived}`, Derived.made(), Derived.shared, derived instanceof Base);
  print(Derived.length, typeof Base, Object.getOwnPropertyNames(Derived.prototype).join(), new.target === undefined);
  class Counter extends Array { sum() { return this.reduce((s, v) => s + v, 0); } }
  const counter = Counter.from([1, 2, 3]);
  print(counter.sum(), counter.map((v) => v * 2).sum(), counter.length, counter instanceof Counter, Array.isArray(counter));
  class NamedError extends TypeError { name = "NamedError"; }
  print(String(new NamedError("m")), new NamedError() instanceof TypeError, Object.prototype.hasOwnProperty.call(new NamedError("m"), "message"));

  const target = { a: 1 };
  const trapped = [];
  const proxy = new Proxy(target, { get: (t, k, r) => (trapped.push(`get ${String(k)}`), Reflect.get(t, k, r)), has: (t, k) => (trapped.push(`has ${String(k)}`), k in t), ownKeys: (t) => (trapped.push("keys"), Reflect.ownKeys(t)), getOwnPropertyDescriptor: (t, k) => (trapped.push(`own ${String(k)}`), Reflect.getOwnPropertyDescriptor(t, k)) });
  print(proxy.a, "b" in proxy, JSON.stringify(proxy), Object.keys({ ...proxy }).join(), trapped.join());
  print([3, 1, 2].sort().join(), [10, 9, 1].sort().join(), [..."hello"].sort().join(""), [5, 2, 8].sort((l, r) => r - l).join());
  const stable = Array.from({ length: 200 }, (_, i) => ({ k: (i * 7) % 5, i })).sort((l, r) => l.k - r.k);
  print("stable", stable.every((v, i) => i === 0 || stable[i - 1].k < v.k || (stable[i - 1].k === v.k && stable[i - 1].i < v.i)));
  print([1, [2, [3, [4]]]].flat(Infinity).join(), [1, 2, 3].at(-1), [1, 2, 3, 4].findLast?.((v) => v < 3) ?? 2, [, 1].length, 0 in [, 1]);
  print([..."a😀b"].length, "😀".codePointAt(0), String.fromCodePoint(128512) === "😀", Object.is([].indexOf(NaN), -1), [NaN].includes(NaN));
  const weak = new WeakMap([[target, 1]]);
  const symbol = Symbol("s");
  print(weak.get(target), weak.has({}), symbol.toString(), symbol.description, Symbol.for("x") === Symbol.for("x"), Symbol.keyFor(Symbol.for("x")));
  const map = new Map([[NaN, 1], [0, 2], ["0", 3]]);
  map.set(-0, 4).delete("0");
  for (const [key, value] of map) { if (value === 1) map.set("late", 5); print("map", String(key), value); }
  print(JSON.stringify({ a: [1, { b: undefined, c: () => 1, d: NaN, e: new Date(0), f: "\u2028\ud800\"" }], g: null }, null, 2));
  print(JSON.stringify(JSON.parse('[1,2.5e3,"\\u00e9\\n",{"a":{"__proto__":1}},true,null,-0]', (key, value) => (typeof value === "number" ? value + 1 : value))));
}
