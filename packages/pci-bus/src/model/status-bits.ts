import { HeaderOffset } from "../config/offsets.ts";
import type { ConfigSpace } from "../config-space.ts";
import type { Attachment } from "./fabric.ts";

/** Bits of Status (0x06) and Secondary Status (0x1e). PCIe §7.5.1.1.4. */
export const StatusBit = { InterruptStatus: 3, SignaledTargetAbort: 11, ReceivedTargetAbort: 12, ReceivedMasterAbort: 13 } as const;
/** Bits of AER's Uncorrectable Error Status. PCIe §7.8.4.2. */
export const UncorrectableError = { CompletionTimeout: 14, CompleterAbort: 15, UnsupportedRequest: 20, AcsViolation: 21 } as const;

const DEVICE_STATUS = 0x0a;
const NON_FATAL = 1;
const UNSUPPORTED = 3;

/** The bytes behind a configuration space, where the hardware can set bits past the write masks; undefined when it shows none. */
export const liveBytes = (config: ConfigSpace): Uint8Array | undefined => {
  const { bytes } = config as { readonly bytes?: unknown };
  return bytes instanceof Uint8Array ? bytes : undefined;
};

/** Sets or clears one bit of a little-endian register as the hardware does. */
export const putBit = (config: ConfigSpace, register: number, bit: number, on: boolean): void => {
  const bytes = liveBytes(config);
  const at = register + (bit >> 3);
  if (!bytes || at >= bytes.length) return;
  const mask = 1 << (bit & 7);
  bytes[at] = on ? (bytes[at] as number) | mask : (bytes[at] as number) & ~mask;
};

/** Sets a bit of the Status register. */
export const setStatus = (config: ConfigSpace, bit: number): void => {
  putBit(config, HeaderOffset.Status, bit, true);
};

/** Sets a bit of a bridge's Secondary Status register. */
export const setSecondaryStatus = (config: ConfigSpace, bit: number): void => {
  putBit(config, HeaderOffset.SecondaryStatus, bit, true);
};

/** Records an error that this function detected itself: Device Status, and AER's status when there is AER. PCIe §6.2.4. */
export const recordError = ({ fn, places }: Attachment, error: number): void => {
  if (places.errors) putBit(fn.config, places.errors + 4, error, true);
  if (!places.express) return;
  putBit(fn.config, places.express + DEVICE_STATUS, NON_FATAL, true);
  if (error === UncorrectableError.UnsupportedRequest) putBit(fn.config, places.express + DEVICE_STATUS, UNSUPPORTED, true);
};
