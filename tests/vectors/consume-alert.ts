import { fromHex, toHex } from "tallystick/bytes/bytes";
import { encodeAlert, readAlert } from "tallystick/record/payload";

export interface AlertVectors {
  readonly alerts: readonly {
    readonly finding: string;
    readonly records: readonly string[];
    readonly text?: string;
    readonly quantity?: string;
    readonly withheld?: number;
    readonly payload: string;
  }[];
  readonly refused: readonly { readonly why: string; readonly payload: string }[];
}

/** Each alert made and read, and what is none. */
export function consumeAlerts({ alerts, refused }: AlertVectors): string[] {
  const lines = alerts.map(({ payload, records, ...rest }) => {
    const made = toHex(encodeAlert({ ...rest, records: records.map((id) => fromHex(id)!) })) === payload;
    const alert = readAlert(fromHex(payload)!);
    if (!alert.ok) return `alert ${alert.failure.code} ${alert.failure.detail}`;
    const { finding, text, quantity, withheld } = alert.value;
    return `alert made ${made} again ${toHex(encodeAlert(alert.value)) === payload} ${finding} ${text} ${quantity} ${withheld}`;
  });
  for (const { why, payload } of refused) {
    const alert = readAlert(fromHex(payload)!);
    lines.push(alert.ok ? `false: ${why} was read` : `${why}: ${alert.failure.code} ${alert.failure.detail}`);
  }
  return lines;
}
