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

/** Linux writes these events; of the others the line's form is not known here. */
const WITH_PASID: readonly number[] = [EventCode.IllegalDeviceEntry];
const WITH_DEVICE: readonly number[] = [EventCode.IllegalDeviceEntry, EventCode.IoPageFault, EventCode.DeviceTableHardwareError, EventCode.IotlbTimeout];
const WITHOUT_FLAGS: readonly number[] = [EventCode.IllegalCommand, EventCode.IotlbTimeout];
const KNOWN: readonly number[] = [...WITH_DEVICE, EventCode.IllegalCommand, EventCode.CommandHardwareError];

/** The line that a kernel of Linux writes about an event's four words, without time and level; undefined for events whose line is not known here. */
export const kernelLine = (event: ArrayLike<number>, kernel: Kernel, { segment = 0, driver }: EventOrigin = {}): string | undefined => {
  const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = Array.from(event);
  const code = w1 >>> 28;
  const name = EVENTS[code]?.name;
  if (name === undefined || !KNOWN.includes(code)) return undefined;
  const old = kernel === "3.10" || kernel === "4.19";
  const function_ = requesterText(w0 & 0xffff);
  const segmentText = segment.toString(16).padStart(4, "0");
  const address = `address=${hexadecimal((BigInt(w3) << 32n) + BigInt(w2), old ? 16 : 1)}`;
  const flags = `flags=${hexadecimal((w1 >>> 16) & 0xfff, 4)}`;
  // Kernels before 4.19 keep 16 bits of what is a domain or a PASID.
  const tag = kernel === "3.10" ? w1 & 0xffff : (w0 & 0xf_0000) | (w1 & 0xffff);
  const named = code === EventCode.IoPageFault && driver !== undefined && kernel !== "3.10";
  const parts = [
    ...(WITH_DEVICE.includes(code) && !named ? [`device=${withSegment(kernel) ? `${segmentText}:` : ""}${function_}`] : []),
    ...(code === EventCode.IoPageFault ? [`domain=${hexadecimal(tag, 4)}`] : []),
    ...(WITH_PASID.includes(code) && kernel !== "3.10" ? [`pasid=${hexadecimal(tag, 5)}`] : []),
    address,
    ...(WITHOUT_FLAGS.includes(code) ? [] : [flags]),
  ];
  return `${named ? `${driver} ${segmentText}:${function_}: ` : ""}AMD-Vi: Event logged [${name} ${parts.join(" ")}]`;
};
