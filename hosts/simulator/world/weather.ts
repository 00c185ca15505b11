import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type Site, type SiteAir, Weather, type WeatherRecords } from "./seattle.js";
import type { Surroundings } from "./surroundings.js";

export type { Site, SiteAir } from "./seattle.js";

/** The weather files as the installed package vega-datasets ships them. */
export function readWeatherRecords(): WeatherRecords {
  // The package exports only its index; its data lies beside the folder of that.
  const index = createRequire(import.meta.url).resolve("vega-datasets");
  const data = join(dirname(index), "..", "data");
  return {
    daily: readFileSync(join(data, "seattle-weather.csv"), "utf8"),
    hourlyNormals: readFileSync(join(data, "seattle-weather-hourly-normals.csv"), "utf8"),
  };
}

let weather: Weather | undefined;

/** The weather at a site, by name or by its own constants. All boards of a process share its tables. */
export function weatherAt(site: Site | SiteAir): Surroundings {
  weather ??= new Weather(readWeatherRecords());
  return weather.at(site);
}
