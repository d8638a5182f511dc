import { requesterText } from "@iommu-lab/pci-bus/decode";
import { EventCode, EVENTS } from "../layouts/index.ts";

/** Kernels whose lines are known; a later one writes as the last of them that is not newer. */
export const KERNELS = ["3.10", "4.19", "5.10", "5.15", "6.1", "6.12"] as const;
export type Kernel = (typeof KERNELS)[number];

/** Where the kernel finds the function. */
export interface EventOrigin {
  readonly segment?: number;
  /** The driver that has the function: then its page faults are told in the function's own name (since 4.8). */
  readonly driver?: string;
}

const hexadecimal = (value: number | bigint, digits = 1): string => `0x${value.toString(16).padStart(digits, "0")}`;

/** Kernels that write the segment before the function. */
const withSegment = (kernel: Kernel): boolean => kernel === "6.1" || kernel === "6.12";

const WITH_PASID: Readonly<Record<number, number>> = { [EventCode.IllegalDeviceEntry]: 5, [EventCode.PageTableHardwareError]: 4, [EventCode.InvalidDeviceRequest]: 5, [EventCode.InvalidPprRequest]: 5 };
const WITH_DEVICE: readonly number[] = [EventCode.IllegalDeviceEntry, EventCode.IoPageFault, EventCode.DeviceTableHardwareError, EventCode.PageTableHardwareError, EventCode.IotlbTimeout, EventCode.InvalidDeviceRequest, EventCode.InvalidPprRequest];
const WITHOUT_FLAGS: readonly number[] = [EventCode.IllegalCommand, EventCode.IotlbTimeout];
/** Every kernel here writes these. */
const EVERYWHERE: readonly number[] = [EventCode.IllegalDeviceEntry, EventCode.IoPageFault, EventCode.DeviceTableHardwareError, EventCode.IllegalCommand, EventCode.CommandHardwareError, EventCode.IotlbTimeout];
/** Of these the form is known since 6.1, as Debian's kernels 6.1 and 6.12 hold it. */
const LATER: readonly number[] = [EventCode.PageTableHardwareError, EventCode.InvalidDeviceRequest, EventCode.InvalidPprRequest];

/** Events of the reverse map table have commas. */
const reverseMapLine = (event: readonly number[], code: number, origin: string, device: string): string => {
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = event;
  const address = (BigInt(w3) << 32n) + BigInt(code === EventCode.RmpHardwareError ? (w2 & 0xffff_fff8) >>> 0 : w2);
  const parts = [
    ...(origin === "" ? [`device=${device}`] : []),
    `vmg_tag=${hexadecimal(w1 & 0xffff, 4)}`,
    `${code === EventCode.RmpHardwareError ? "spa" : "gpa"}=${hexadecimal(address)}`,
    ...(code === EventCode.RmpPageFault ? [`flags_rmp=${hexadecimal((w0 >>> 16) & 0xfff, 4)}`] : []),
    `flags=${hexadecimal((w1 >>> 16) & 0xfff, 4)}`,
  ];
  return `${origin}AMD-Vi: Event logged [${code === EventCode.RmpHardwareError ? "RMP_HW_ERROR" : "RMP_PAGE_FAULT"} ${parts.join(", ")}]`;
};

/** The line that a kernel of Linux writes about an event's four words, without time and level; undefined for events whose line is not known here. */
export const kernelLine = (event: ArrayLike<number>, kernel: Kernel, { segment = 0, driver }: EventOrigin = {}): string | undefined => {
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = Array.from(event);
  const code = w1 >>> 28;
  const name = EVENTS[code]?.name ?? "";
  const recent = withSegment(kernel);
  const old = kernel === "3.10" || kernel === "4.19";
  const function_ = requesterText(w0 & 0xffff);
  const segmentText = segment.toString(16).padStart(4, "0");
  const address = `address=${hexadecimal((BigInt(w3) << 32n) + BigInt(w2), old ? 16 : 1)}`;
  const flags = `flags=${hexadecimal((w1 >>> 16) & 0xfff, 4)}`;
  // Kernels before 4.19 keep 16 bits of what is a domain or a PASID.
  const tag = kernel === "3.10" ? w1 & 0xffff : (w0 & 0xf_0000) | (w1 & 0xffff);
  const origin = driver === undefined ? "" : `${driver} ${segmentText}:${function_}: `;
  if (recent && (code === EventCode.RmpPageFault || code === EventCode.RmpHardwareError)) return reverseMapLine([w0, w1, w2, w3], code, origin, `${segmentText}:${function_}`);
  if (!EVERYWHERE.includes(code) && !(recent && LATER.includes(code))) return recent ? `AMD-Vi: Event logged [UNKNOWN ${[w0, w1, w2, w3].map((word, i) => `event[${i}]=${hexadecimal(word, 8)}`).join(" ")}` : undefined;
  const isPpr = code === EventCode.InvalidPprRequest;
  const named = code === EventCode.IoPageFault && driver !== undefined && kernel !== "3.10";
  const parts = [
    ...(WITH_DEVICE.includes(code) && !named ? [`device=${withSegment(kernel) ? `${segmentText}:` : ""}${function_}`] : []),
    ...(code === EventCode.IoPageFault ? [`domain=${hexadecimal(tag, 4)}`] : []),
    ...(WITH_PASID[code] !== undefined && kernel !== "3.10" ? [`pasid=${hexadecimal(isPpr ? (w0 >>> 16) + ((w1 >>> 10) & 0xf) * 0x1_0000 : tag, WITH_PASID[code])}`] : []),
    address,
    ...(WITHOUT_FLAGS.includes(code) ? [] : [flags]),
    ...(isPpr ? [`tag=${hexadecimal(w1 & 0x3ff, 3)}`] : []),
  ];
  return `${named ? origin : ""}AMD-Vi: Event logged [${name} ${parts.join(" ")}]`;
};
