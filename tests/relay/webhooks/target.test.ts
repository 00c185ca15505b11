import assert from "node:assert/strict";
import fc from "fast-check";
import { isRange, refusalOf } from "../../../hosts/relay/webhooks/addresses.js";
import { addressOf, parseTarget, type TargetRules } from "../../../hosts/relay/webhooks/target.js";
import { failureOf, must } from "../started.js";

const STRICT: TargetRules = { allowInsecure: false, allowAddresses: [] };

/** Ways to write an address that must not be reached, or to hide one: each has been one somewhere. */
const HOSTILE = [
  "http://receiver.example/",
  "ftp://receiver.example/",
  "file:///etc/passwd",
  "gopher://127.0.0.1:6379/_x",
  "javascript:alert(1)",
  "data:text/plain,x",
  "//receiver.example/",
  "receiver.example",
  "",
  "https://",
  "https:receiver.example",
  "https:/receiver.example",
  "https:///receiver.example",
  "https:\\\\receiver.example\\",
  "https://127.0.0.1/",
  "https://127.0.0.1./",
  "https://127.1/",
  "https://127.0.1/",
  "https://2130706433/",
  "https://0x7f000001/",
  "https://0x7f.0.0.1/",
  "https://0177.0.0.1/",
  "https://017700000001/",
  "https://127.0.0.0x1/",
  "https://0/",
  "https://0.0.0.0/",
  "https://10.0.0.1/",
  "https://172.16.0.1/",
  "https://172.31.255.255/",
  "https://192.168.1.1/",
  "https://169.254.169.254/latest/meta-data/",
  "https://100.64.0.1/",
  "https://100.127.255.255/",
  "https://192.0.0.192/",
  "https://198.18.0.1/",
  "https://224.0.0.1/",
  "https://239.255.255.255/",
  "https://255.255.255.255/",
  "https://[::]/",
  "https://[::1]/",
  "https://[0:0:0:0:0:0:0:1]/",
  "https://[::127.0.0.1]/",
  "https://[::ffff:127.0.0.1]/",
  "https://[::ffff:7f00:1]/",
  "https://[::ffff:0:127.0.0.1]/",
  "https://[64:ff9b::127.0.0.1]/",
  "https://[64:ff9b::7f00:1]/",
  "https://[64:ff9b:1::10.0.0.1]/",
  "https://[2002:7f00:1::]/",
  "https://[2002:a00:1::1]/",
  "https://[2001::1]/",
  "https://[2001:0:7f00:1::1]/",
  "https://[2001:db8::1]/",
  "https://[fc00::1]/",
  "https://[fd00:ec2::254]/",
  "https://[fe80::1]/",
  "https://[fe80::1%25eth0]/",
  "https://[fe80::1%eth0]/",
  "https://[fec0::1]/",
  "https://[ff02::1]/",
  "https://[5f00::1]/",
  "https://[100::1]/",
  "https://user@receiver.example/",
  "https://user:password@receiver.example/",
  "https://receiver.example@127.0.0.1/",
  "https://receiver.example:443@127.0.0.1/",
  "https://127.0.0.1#@receiver.example/",
  "https://127.0.0.1?@receiver.example/",
  "https://127.0.0.1\\@receiver.example/",
  "https://receiver.example\\@127.0.0.1/",
  "https://%31%32%37.0.0.1/",
  "https://127%2e0%2e0%2e1/",
  "https://127。0。0。1/",
  "https://①②⑦.⓪.⓪.①/",
  "https://１２７.0.0.1/",
  "https://localhoſt/",
  "https://bücher.example/",
  "https://ⓡeceiver.example/",
  "https://receiver.example./",
  "https://receiver..example/",
  "https://.receiver.example/",
  "https://-receiver.example/",
  "https://receiver\u00ad.example/",
  "https://receiver.example\u202e/",
  "https://receiver.\texample/",
  "https://receiver.example/\r\nx: y",
  " https://receiver.example/",
  "https://receiver.example/ ",
  "https://receiver.example:99999/",
  `https://receiver.example/${"a".repeat(2048)}`,
  `https://${"a".repeat(64)}.example/`,
];

describe("webhooks: whom they may reach", () => {
  for (const url of HOSTILE)
    it(`not ${JSON.stringify(url).slice(0, 60)}`, () => {
      assert.equal(failureOf(parseTarget(url, STRICT)).code, "WEBHOOK_TARGET_REFUSED");
    });

  it("a public host by name or by address, as it is written", () => {
    for (const url of [
      "https://receiver.example/a/b?c=d",
      "HTTPS://Receiver.example:8443/",
      "https://xn--bcher-kva.example/",
      "https://1.1.1.1/",
      "https://[2606:4700:4700::1111]:8443/x",
    ])
      assert(parseTarget(url, STRICT).ok, url);
    assert(parseTarget("http://receiver.example/", { ...STRICT, allowInsecure: true }).ok);
  });

  it("a private address where its range is allowed, and no other way to write it", () => {
    const rules = { allowInsecure: true, allowAddresses: ["10.1.0.0/16", "fd00:1::/32", "127.0.0.1"] };
    for (const url of ["https://10.1.2.3/", "https://[fd00:1::5]/", "http://127.0.0.1:8080/"])
      assert(parseTarget(url, rules).ok, url);
    for (const url of ["https://10.2.0.1/", "https://[::ffff:10.1.2.3]/", "https://[fd00:2::5]/", "https://127.1/"])
      assert.equal(failureOf(parseTarget(url, rules)).code, "WEBHOOK_TARGET_REFUSED", url);
  });

  it("refuses the whole of a name where one of its addresses may not be reached", async () => {
    const target = must(parseTarget("https://receiver.example/", STRICT));
    const found = (...addresses: string[]) => addressOf(target, STRICT, async () => addresses);
    assert.equal(must(await found("1.1.1.1", "2606:4700:4700::1111")), "1.1.1.1");
    assert.deepEqual(failureOf(await found("1.1.1.1", "10.0.0.7")), {
      code: "WEBHOOK_TARGET_REFUSED",
      detail: "receiver.example is at 10.0.0.7, private (RFC 1918)",
    });
    for (const address of ["::1", "fe80::1%lo", "::ffff:127.0.0.1", "169.254.169.254", "nonsense", ""])
      assert.equal(failureOf(await found(address)).code, "WEBHOOK_TARGET_REFUSED", address);
    assert.equal(failureOf(await found()).code, "WEBHOOK_FAILED");
    const lost = async () => Promise.reject(Object.assign(new Error("x"), { code: "ENOTFOUND" }));
    assert.equal(failureOf(await addressOf(target, STRICT, lost)).detail, "receiver.example: ENOTFOUND");
  });

  it("refuses every IPv6 address that has an IPv4 address in it, however it is put there", () => {
    fc.assert(
      fc.property(
        fc.ipV4(),
        fc.constantFrom("::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"),
        (ip, prefix) => {
          assert.notEqual(refusalOf(prefix + ip), undefined);
        },
      ),
    );
    fc.assert(
      fc.property(fc.ipV4(), fc.constantFrom("2002:", "2001:0:"), (ip, prefix) => {
        const [a, b, c, d] = ip.split(".").map(Number) as [number, number, number, number];
        const groups = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
        assert.notEqual(refusalOf(`${prefix}${groups}::1`), undefined);
      }),
    );
  });

  it("lets nothing of IPv6 through but what is given out for the public", () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const first = Number.parseInt(/^[0-9a-f]*/i.exec(address)![0] || "0", 16);
        if (first >> 13 !== 1) assert.notEqual(refusalOf(address), undefined, address);
      }),
    );
    assert.equal(refusalOf("2a00:1450:4001::1"), undefined);
  });

  it("knows a range when it sees one", () => {
    for (const range of ["10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8", "0.0.0.0/0"]) assert(isRange(range), range);
    for (const range of ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "fd00::/129", "x/8", "10.0.0.0/8/8", "fe80::1%lo"])
      assert(!isRange(range), range);
  });
});
