import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Weather, type WeatherRecords } from "./weather.js";

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

/** One weather for all boards of a process. */
export function recordedWeather(): Weather {
  weather ??= new Weather(readWeatherRecords());
  return weather;
}
