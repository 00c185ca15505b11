// biome-ignore-all lint: what no one should write is what an engine must get right.
// biome-ignore-all format: one case a line.
// Typed arrays, views and buffers: conversion on store, sign on load, both byte orders, views with offsets.
import { EDGES, show } from "./numbers.js";

const KINDS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
];

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => (byte < 16 ? "0" : "") + byte.toString(16)).join("");

export default function bytes(print) {
  for (const Kind of KINDS) {
    const array = new Kind(1);
    print(Kind.name, EDGES.map((x) => ((array[0] = x), show(array[0]))).join(" "));
    print(Kind.name, "from", [...Kind.from(EDGES)].map(show).join(" "));
    const filled = new Kind(3).fill(-1);
    print(Kind.name, "fill", [...filled].join(), filled.length, filled.byteLength, Kind.BYTES_PER_ELEMENT);
  }
  const setters = ["Int8", "Uint8", "Int16", "Uint16", "Int32", "Uint32", "Float32", "Float64"];
  for (const kind of setters) {
    for (const little of [false, true]) {
      const line = EDGES.map((x) => {
        if (Number.isNaN(x) && kind.startsWith("Float")) return "NaN";
        const view = new DataView(new ArrayBuffer(10));
        view[`set${kind}`](1, x, little);
        return `${hex(view.buffer)}=${show(view[`get${kind}`](1, little))}`;
      });
      print("view", kind, little, line.join(" "));
    }
  }
  const view = new DataView(new ArrayBuffer(16));
  view.setUint32(0, 0xffffffff);
  print(view.getInt32(0), view.getUint32(0), view.getInt16(1), view.getUint16(1), view.getInt8(3), view.getUint8(3));
  view.setBigUint64(8, 0xfedcba9876543210n, true);
  print(view.getBigUint64(8, true).toString(16), view.getBigInt64(8, true), view.getUint32(8), view.getUint32(12, true));

  const whole = Uint8Array.from({ length: 20 }, (_, i) => i * 13);
  const part = whole.subarray(3, 11);
  part[0] = 300;
  part.set([1, 2, 3], 5);
  print(part.byteOffset, part.length, [...part].join(), [...whole].join());
  whole.copyWithin(2, 5, 9);
  print([...whole].join(), [...whole.slice(-4)].join(), whole.indexOf(39), whole.includes(1), whole.lastIndexOf(1));
  print([...whole.map((x) => x * 2)].join(), [...whole.filter((x) => x & 1)].join(), whole.reduce((a, b) => a + b, 0));
  print([...new Int16Array(whole.buffer, 2, 4)].join(), [...new Uint32Array(whole.buffer.slice(4, 12))].join());
  print([...Float64Array.of(3, 1, -0, Number.NaN, 0, -1).sort()].map(show).join(), [...whole].sort((a, b) => b - a).join());
  print([...whole].reverse().join(), [...whole.entries()].length, Object.keys(whole).length, whole.join("-"));
  print(whole[20], whole[-1], "5" in whole, "20" in whole, Array.isArray(whole), ArrayBuffer.isView(part));
  const overlap = new Uint8Array([1, 2, 3, 4, 5]);
  overlap.set(overlap.subarray(0, 4), 1);
  print([...overlap].join());
  for (const f of [
    () => new Uint32Array(new ArrayBuffer(7)),
    () => new Uint32Array(new ArrayBuffer(8), 2),
    () => new Uint8Array(new ArrayBuffer(8), 9),
    () => new DataView(new ArrayBuffer(4)).getUint32(1),
    () => new DataView(new ArrayBuffer(4), 5),
    () => new Uint8Array(-1),
    () => overlap.set([1], 5),
    () => Uint8Array(1),
  ]) {
    try {
      f();
      print("no error");
    } catch (error) {
      print(error.constructor.name);
    }
  }
}
