/** What lies behind a fault; advice is by these. */
export type Cause = "unmapped" | "permission" | "reserved" | "width" | "source" | "entry" | "window" | "compatibility" | "absent" | "impostor" | "pasid" | "hardware" | "other";

const BY_REASON: readonly (readonly [Cause, readonly number[]])[] = [
  ["unmapped", [0x06, 0x71, 0x79]],
  ["permission", [0x05, 0x75, 0x76, 0x77, 0x81, 0x82, 0x85, 0x86]],
  ["reserved", [0x0c, 0x72, 0x7a]],
  ["width", [0x04, 0x74, 0x80, 0x83, 0x84]],
  ["source", [0x01, 0x02, 0x39, 0x41, 0x51, 0x59]],
  ["entry", [0x03, 0x0a, 0x0b, 0x30, 0x3a, 0x42, 0x43, 0x52, 0x5a, 0x5b]],
  ["window", [0x0e, 0x29, 0x87]],
  ["compatibility", [0x25]],
  ["absent", [0x20, 0x21, 0x22, 0x24, 0x28]],
  ["impostor", [0x26]],
  ["pasid", [0x31, 0x45, 0x46, 0x48, 0x5c, 0x5d]],
  ["hardware", [0x07, 0x08, 0x09, 0x23, 0x27, 0x38, 0x40, 0x50, 0x58, 0x70, 0x73, 0x78, 0x7b, 0x7c, 0x7d, 0x90, 0x91]],
];

/** The cause behind a reason of VT-d. */
export const causeOfReason = (reason: number): Cause => BY_REASON.find(([, reasons]) => reasons.includes(reason))?.[0] ?? "other";

const I = 8;
const PR = 0x10;
const PE = 0x40;
const RZ = 0x80;
const DEVICE_ENTRY = 1;
const PAGE_FAULT = 2;
const INVALID_REQUEST = 8;

/** The cause behind an AMD event, by its code and flags. */
export const causeOfEvent = (code: number, flags: number): Cause => {
  if (code === DEVICE_ENTRY) return "entry";
  if (code === INVALID_REQUEST) return "window";
  if (code !== PAGE_FAULT) return code === 3 || code === 4 || code === 6 || code === 7 ? "hardware" : "other";
  if ((flags & I) !== 0) return "absent";
  if ((flags & PR) === 0) return "unmapped";
  if ((flags & PE) !== 0) return "permission";
  // Neither right nor bit is wrong: the address has more bits than the levels, or a level is none.
  return (flags & RZ) !== 0 ? "reserved" : "width";
};
