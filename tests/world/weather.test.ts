import assert from "node:assert/strict";
import fc from "fast-check";
import { SITES, type Site, saturationPa, Weather } from "../../hosts/simulator/world/seattle.js";
import { readWeatherRecords, weatherAt } from "../../hosts/simulator/world/weather.js";

const HOUR_MS = 3_600_000;
const local = (iso: string) => Date.parse(`${iso}:00-08:00`);
const anyTime = fc.integer({ min: Date.UTC(1971, 0, 1), max: Date.UTC(2098, 0, 1) });
const anySite = fc.constantFrom(...(Object.keys(SITES) as Site[]));

describe("weather", () => {
  const outdoors = weatherAt("outdoors");
  const hours = (day: string) =>
    Array.from({ length: 24 }, (_, hour) => outdoors.at(local(`${day}T00:00`) + hour * HOUR_MS).temperatureC);

  it("reaches the recorded lows and highs", () => {
    // Rows of seattle-weather.csv: date, temp_max, temp_min.
    for (const [day, high, low] of [
      ["2012-01-15", 1.1, -3.3],
      ["2012-07-04", 20.6, 9.4],
      ["2014-08-11", 35.6, 17.8],
      ["2015-12-31", 5.6, -2.1],
    ] as const) {
      const row = readWeatherRecords()
        .daily.split("\n")
        .find((line) => line.startsWith(day))!
        .split(",");
      assert.deepEqual([Number(row[2]), Number(row[3])], [high, low], `${day} as the file has it`);
      const celsius = hours(day);
      assert.ok(
        celsius.slice(0, 12).some((value) => Math.abs(value - low) < 1e-9),
        `${day} low`,
      );
      assert.ok(
        celsius.slice(12).some((value) => Math.abs(value - high) < 1e-9),
        `${day} high`,
      );
    }
  });

  it("brings any date between 1901 and 2099 onto its own month and day", () => {
    for (const year of [1904, 1972, 2024, 2096])
      assert.deepEqual(outdoors.at(local(`${year}-02-29T15:00`)), outdoors.at(local("2012-02-29T15:00")));
    assert.deepEqual(outdoors.at(local("2026-11-23T07:30")), outdoors.at(local("2014-11-23T07:30")));
  });

  it("is possible air everywhere, and a pure function of time", () => {
    const again = new Weather(readWeatherRecords());
    fc.assert(
      fc.property(anyTime, anySite, (ms, site) => {
        const air = weatherAt(site).at(ms);
        assert.ok(air.temperatureC > -20 && air.temperatureC < 50, `${air.temperatureC}`);
        assert.ok(air.humidityPercent > 5 && air.humidityPercent <= 100, `${air.humidityPercent}`);
        assert.ok(air.pressurePa > 98_000 && air.pressurePa < 103_000, `${air.pressurePa}`);
        assert.deepEqual(again.at(site).at(ms), air);
      }),
    );
  });

  it("has no jump: a minute changes little", () => {
    fc.assert(
      fc.property(anyTime, anySite, (ms, site) => {
        const surroundings = weatherAt(site);
        const [before, after] = [surroundings.at(ms), surroundings.at(ms + 60_000)];
        assert.ok(Math.abs(after.temperatureC - before.temperatureC) < 0.3);
        assert.ok(Math.abs(after.pressurePa - before.pressurePa) < 4);
        assert.ok(Math.abs(after.humidityPercent - before.humidityPercent) < 2);
      }),
    );
  });

  it("stays between two hours of the record within their values", () => {
    fc.assert(
      fc.property(anyTime, fc.double({ min: 0, max: 1, noNaN: true }), (ms, part) => {
        const start = Math.floor(ms / HOUR_MS) * HOUR_MS;
        const [a, b] = [outdoors.at(start).temperatureC, outdoors.at(start + HOUR_MS).temperatureC];
        const between = outdoors.at(start + part * HOUR_MS).temperatureC;
        assert.ok(between >= Math.min(a, b) - 1e-9 && between <= Math.max(a, b) + 1e-9);
      }),
    );
  });

  it("follows a room by its differential equation", () => {
    fc.assert(
      fc.property(anyTime, fc.double({ min: 0.5, max: 1000, noNaN: true, noDefaultInfinity: true }), (ms, lagHours) => {
        // A few lags only: each is solved for all four years.
        const lag = [1, 4, 480].reduce((near, l) => (Math.abs(l - lagHours) < Math.abs(near - lagHours) ? l : near));
        const room = weatherAt({ lagHours: lag, warmerC: 0, vapourPa: 0, heightM: 0 });
        // Inside one hour, since the cubic's third derivative jumps at its ends.
        const at = Math.floor(ms / HOUR_MS) * HOUR_MS + HOUR_MS / 2;
        const step = HOUR_MS / 100;
        const slope = (room.at(at + step).temperatureC - room.at(at - step).temperatureC) / 0.02;
        const expected = (outdoors.at(at).temperatureC - room.at(at).temperatureC) / lag;
        assert.ok(Math.abs(slope - expected) < 1e-3, `${slope} ${expected}`);
      }),
    );
  });

  it("damps and delays: a cellar hardly knows day and night", () => {
    const swing = (site: Site) => {
      const celsius = Array.from(
        { length: 24 },
        (_, hour) => weatherAt(site).at(local("2014-07-10T00:00") + hour * HOUR_MS).temperatureC,
      );
      return Math.max(...celsius) - Math.min(...celsius);
    };
    assert.ok(swing("outdoors") > 8);
    assert.ok(swing("attic") < swing("greenhouse") && swing("greenhouse") < swing("outdoors"));
    assert.ok(swing("cellar") < 0.5);
  });

  it("has the published saturation vapour pressure", () => {
    // FAO-56, annex 2, table 2.3, in kPa.
    for (const [celsius, kPa] of [
      [1, 0.657],
      [15, 1.705],
      [24.5, 3.075],
      [40, 7.376],
    ] as const)
      assert.ok(Math.abs(saturationPa(celsius) / 1000 - kPa) < 0.0015, `${celsius}`);
  });

  it("refuses files that are not the records", () => {
    const records = readWeatherRecords();
    const without = (text: string, line: number) => text.split("\n").toSpliced(line, 1).join("\n");
    assert.throws(() => new Weather({ ...records, daily: without(records.daily, 500) }), /expected 2013-05-14/);
    assert.throws(() => new Weather({ ...records, daily: "date\n" }), /columns/);
    assert.throws(
      () => new Weather({ ...records, hourlyNormals: without(records.hourlyNormals, 900) }),
      /hour 900 is missing/,
    );
    assert.throws(() => new Weather({ ...records, daily: records.daily.replace("12.8", "warm") }), /a number/);
  });
});
