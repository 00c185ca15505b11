import { BlockList, isIP } from "node:net";

/**
 * Addresses that no webhook goes to, since what listens there trusts whoever reaches it: this machine, its networks, a
 * cloud's metadata. By the IANA special-purpose registries; what of IPv6 has an IPv4 address in it is refused whole, since
 * which one is reached is the network's to say.
 */
interface Refused {
  readonly subnet: string;
  readonly why: string;
}

const REFUSED: readonly Refused[] = [
  { subnet: "0.0.0.0/8", why: "this network (RFC 791, RFC 1122)" },
  { subnet: "10.0.0.0/8", why: "private (RFC 1918)" },
  { subnet: "100.64.0.0/10", why: "shared by a carrier (RFC 6598)" },
  { subnet: "127.0.0.0/8", why: "loopback (RFC 1122)" },
  { subnet: "169.254.0.0/16", why: "link-local, and clouds' metadata (RFC 3927)" },
  { subnet: "172.16.0.0/12", why: "private (RFC 1918)" },
  { subnet: "192.0.0.0/24", why: "protocol assignments (RFC 6890)" },
  { subnet: "192.0.2.0/24", why: "documentation (RFC 5737)" },
  { subnet: "192.31.196.0/24", why: "AS112 (RFC 7535)" },
  { subnet: "192.52.193.0/24", why: "AMT relays (RFC 7450)" },
  { subnet: "192.88.99.0/24", why: "6to4 relays (RFC 7526)" },
  { subnet: "192.168.0.0/16", why: "private (RFC 1918)" },
  { subnet: "192.175.48.0/24", why: "AS112 (RFC 7534)" },
  { subnet: "198.18.0.0/15", why: "benchmarks (RFC 2544)" },
  { subnet: "198.51.100.0/24", why: "documentation (RFC 5737)" },
  { subnet: "203.0.113.0/24", why: "documentation (RFC 5737)" },
  { subnet: "224.0.0.0/4", why: "multicast (RFC 5771)" },
  { subnet: "240.0.0.0/4", why: "reserved, and broadcast (RFC 1112, RFC 8190)" },
  // Of IPv6 only what is given out for the public is not here: 2000::/3 (RFC 4291 §2.4) less what follows.
  { subnet: "::/3", why: "unspecified, loopback, IPv4-mapped, NAT64 and others (RFC 4291, RFC 6052, RFC 8215)" },
  { subnet: "2001::/23", why: "protocol assignments, with Teredo, ORCHID and others (RFC 2928, RFC 4380)" },
  { subnet: "2001:db8::/32", why: "documentation (RFC 3849)" },
  { subnet: "2002::/16", why: "6to4 (RFC 3056)" },
  { subnet: "2620:4f:8000::/48", why: "AS112 (RFC 7534)" },
  { subnet: "3fff::/20", why: "documentation (RFC 9637)" },
  { subnet: "4000::/2", why: "not given out (RFC 4291)" },
  { subnet: "8000::/1", why: "unique-local, link-local, multicast and not given out (RFC 4193, RFC 4291)" },
];

/** Ranges that an operator may allow, at most. */
export const ALLOWED_MAX = 16;

const lists = REFUSED.map((refused) => ({ ...refused, list: listOf([refused.subnet]) }));

/** Why no webhook goes to `address`, which must be one; undefined where one may. */
export function refusalOf(address: string, allowed: readonly string[] = []): string | undefined {
  // A zone names an interface of this machine: nothing public has one.
  if (address.includes("%")) return "an address of one interface (RFC 4007)";
  const version = isIP(address);
  if (version === 0) return "not an IP address";
  const family = version === 4 ? "ipv4" : "ipv6";
  // Each list by its own family: Node's would take ::ffff:10.0.0.1 for 10.0.0.1, which no range of IPv4 is meant to allow.
  if (allowed.some((range) => familyOf(range) === family && listOf([range]).check(address, family))) return undefined;
  return lists.find(({ subnet, list }) => familyOf(subnet) === family && list.check(address, family))?.why;
}

/** A range as an operator writes it, `10.1.0.0/16`; a lone address stands for itself. */
export function isRange(text: string): boolean {
  const [address = "", bits, ...rest] = text.split("/");
  const version = isIP(address);
  if (version === 0 || rest.length > 0 || address.includes("%")) return false;
  if (bits === undefined) return true;
  return /^[0-9]{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128);
}

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [address, bits] = range.split("/") as [string, string | undefined];
    const family = familyOf(range);
    list.addSubnet(address, bits === undefined ? (family === "ipv4" ? 32 : 128) : Number(bits), family);
  }
  return list;
}

function familyOf(range: string): "ipv4" | "ipv6" {
  return range.includes(":") ? "ipv6" : "ipv4";
}
