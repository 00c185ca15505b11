// biome-ignore-all lint: what no one should write is what an engine must get right.
// biome-ignore-all format: one case a line.
// Regular expressions, strings, normalisation, BigInt, dates.
export default function text(print) {
  const matches = [
    [/(\d+)-(\d+)/, "tel 12-345 6-7"],
    [/(?<year>\d{4})-(?<month>\d\d)/u, "on 2024-05-06"],
    [/^a.*z$/ms, "b\na\nz\nc"],
    [/(?<=\$)\d+(?!\d|\.)/, "$1.5 $42"],
    [/(?<!a)b/g, "ab bb"],
    [/\bfoo\b/gi, "Foo food FOO"],
    [/(a+)+b/, "aaaaaaaaaaaaab"],
    [/(.)\1(?:\1)?/g, "aabbbc"],
    [/[^\x01-\x7f]+/gu, "naïve — 日本"],
    [/\u{1F600}/u, "a😀"],
    [/^.$/u, "😀"],
    [/\p{Lu}\p{Ll}+/gu, "Ärger in Österreich"],
    [/\p{Script=Greek}+/u, "abc αβγ"],
    [/\p{Nd}{2,}/u, "a١٢b"],
    [/a{2,3}?/g, "aaaaa"],
    [/(?=(\w+))\1:/, "abc:"],
    [/[\]\\^-]+/, "a]\\^-b"],
    [/\cJ|\t|\v/, "x\ny"],
    [/$^/m, ""],
    [/(z)((a+)?(b+)?(c))*/, "zaacbbbcac"],
    [/sticky/y, "not sticky"],
  ];
  for (const [pattern, subject] of matches) {
    const found = pattern.global ? [...subject.matchAll(pattern)].map((m) => `${m[0]}@${m.index}`).join() : JSON.stringify(pattern.exec(subject));
    print(String(pattern), found, subject.search(pattern), pattern.flags, JSON.stringify(pattern.exec(subject)?.groups ?? null));
  }
  print("a-b_c".replace(/[-_](\w)/g, (_, c) => c.toUpperCase()), "john smith".replace(/(\w+) (\w+)/, "$2, $1 [$&] [$`] [$'] $$"));
  print("2024-05".replace(/(?<y>\d+)-(?<m>\d+)/, "$<m>/$<y>"), "aaa".replaceAll("a", "$&b"), "x".replace("x", () => "$&"));
  print(JSON.stringify("a1b22c".split(/(\d+)/)), JSON.stringify("abc".split("")), JSON.stringify("a,b,,c".split(",", 3)), JSON.stringify("".split(/x/)));
  const lasting = /o/g;
  print(lasting.test("foo"), lasting.lastIndex, lasting.test("foo"), lasting.lastIndex, lasting.test("foo"), lasting.lastIndex);
  print(new RegExp("[" + "\\d" + "]+", "g")[Symbol.replace]("a12b3", "#"), RegExp("a/b").source, String(new RegExp("\n")));

  const words = ["é", "e\u0301", "ﬁ", "Å", "\u212b", "각", "\u1100\u1161\u11a8", "ǆ", "①", "ẛ\u0323", "𝐀", "q\u0307\u0323"];
  // Joined anew: XS 13.3 takes the bytes of a string in flash for a chunk here, and its next collection goes astray.
  const fresh = (word) => [...word].join("");
  for (const form of ["NFC", "NFD", "NFKC", "NFKD"]) {
    print(form, words.map((w) => [...fresh(w).normalize(form)].map((c) => c.codePointAt(0).toString(16)).join("+")).join(" "));
  }
  print("straße".toUpperCase(), "İ".toLowerCase().length, "ΑΣ".toLowerCase(), "ŉ".toUpperCase(), "ǅ".toLowerCase(), "𐐀".toLowerCase());
  print("abc".at(-1), "abc".slice(-2, -1), "abc".substring(2, 0), "abc".padStart(6, "12"), "abc".padEnd(5), "|", "  x\u00a0\ufeff".trim().length);
  print("abcabc".lastIndexOf("c", 4), "abc".includes("bc"), "abc".startsWith("b", 1), "abc".endsWith("b", 2), "ab".repeat(3), "a\0b".length);
  print([..."\ud83dx"].length, encodeURIComponent("é/😀 ?"), decodeURI("%41%2f"), escape("é ü"));
  print("b" < "a", "B" < "a", "a" < "aa", "10" < "9", 10 < "9", "é" > "z");
  print(String.raw`a\n${1}`, `multi
line`, "\x41\u0042\u{43}", "a" + 1 + 2, 1 + 2 + "a", [1, [2, 3]] + "", {} + "", null + "x", `${[]}`, `${Symbol("q").description}`);
  const long = Array.from({ length: 500 }, (_, i) => String.fromCharCode(97 + (i % 26))).join("");
  print(long.length, long.indexOf("xyza"), long.slice(490), long.replace(/z/g, "").length, [...long].reverse().join("").slice(0, 10));

  const big = [0n, 1n, -1n, 255n, 2n ** 31n, 2n ** 32n - 1n, -(2n ** 63n), 2n ** 64n, 2n ** 255n - 19n, 123456789012345678901234567890n];
  for (const l of big) {
    print(l, l.toString(16), l.toString(36), BigInt.asIntN(32, l), BigInt.asUintN(64, l), -l, ~l, Number(l), typeof l, Boolean(l));
    print(big.map((r) => [l + r, l - r, l * r, r ? l / r : "-", r ? l % r : "-", l & r, l | r, l ^ r, l < r, l == r].join(",")).join(" "));
  }
  print(1n << 100n, -5n >> 1n, (-7n) / 2n, (-7n) % 2n, 3n ** 50n, 2n ** 0n, BigInt("0xff"), BigInt(" 12 "), BigInt(2 ** 53), 1n < 1.5, 2n == 2, 2n === 2, 10n > "9");
  const p = 2n ** 255n - 19n;
  let power = 1n;
  for (let e = p - 2n, b = 1234567n; e > 0n; e >>= 1n) { if (e & 1n) power = (power * b) % p; b = (b * b) % p; }
  print(power, (power * 1234567n) % p);

  for (const ms of [0, 1, -1, 951782400000, 1709164800000, 1e12, -62135596800000, 8.64e15, -8.64e15, 8.64e15 + 1, NaN, 4102444799999, 1.9]) {
    const date = new Date(ms);
    if (Number.isNaN(date.getTime())) { print("invalid", ms, String(date), JSON.stringify(date)); continue; }
    print(date.toISOString(), date.getTime(), date.getUTCDay(), date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds(), date.getUTCMilliseconds());
  }
  for (const line of ["2024-02-29T12:34:56.789Z", "2024-02-29", "2023-02-29T00:00:00Z", "2024-05-06T07:08:09+02:00", "+012024-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "not a date"]) print(line, Date.parse(line));
  print(Date.UTC(2024, 1, 29), Date.UTC(2024, 12), Date.UTC(99, 0), Date.UTC(2024, 0, 1, 25, 61, 61, 1001), Date.UTC(2024, -1), new Date(2 ** 31 * 1000).toISOString());
  const moved = new Date(0);
  moved.setUTCFullYear(2024, 1, 30);
  moved.setUTCHours(-1);
  moved.setUTCMilliseconds(86400001);
  print(moved.toISOString(), moved - new Date(0), moved > 0, new Date(moved).getTime() === moved.getTime(), JSON.stringify({ moved }));
  print(parseInt("08"), (25).toString(36), (0.1).toFixed(20), 1e21 + "", 1e-7 + "", (123.456).toString(), 0.1 * 3, 5e-324, 1.7976931348623157e308);
}
