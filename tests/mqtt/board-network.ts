import type { Network } from "../../hosts/simulator/world/network.js";
import type { MqttTransport } from "./transport.js";

/** A board's way to its relay over a broker. The kid is known once the device has told its key. */
export function networkOf(open: () => MqttTransport): Network {
  let transport: MqttTransport | undefined;
  return {
    async request({ method, path, body, maxResponseBytes }) {
      transport ??= open();
      const answer = await transport.ask({ method, path, ...(method === "POST" && { body }) });
      if (!answer) return { outcome: "timed-out", detail: "no answer" };
      if (answer.body.length > maxResponseBytes) return { outcome: "too-long", detail: "a long answer" };
      return { outcome: "answered", ...answer };
    },
  };
}
