import { findExtendedCapability } from "@iommu-lab/pci-bus/capabilities";

const DEVICE_SERIAL_NUMBER = 0x03;

/** A configuration space whose Device Serial Number capability reads zero, or undefined when there is none. PCIe §7.9.3. */
export const blankSerialNumber = (config: Uint8Array): Uint8Array | undefined => {
  const at = findExtendedCapability(config, DEVICE_SERIAL_NUMBER);
  if (at === 0 || at + 12 > config.length || config.subarray(at + 4, at + 12).every((byte) => byte === 0)) return undefined;
  return config.slice().fill(0, at + 4, at + 12);
};

/** MAC addresses, and what is longer but made the same way: world-wide names, InfiniBand's GUIDs, BOOTIF= with its leading type. */
const BYTE_PAIRS = /(?<![0-9a-f])(?:[0-9a-f]{2}[:-]){5,}[0-9a-f]{2}(?![0-9a-f]|\.[0-7])/gi;
/** Interfaces that are named after their MAC address. */
const NAMED_BY_MAC = /\b(en|wl|ww)x(?!0{12})[0-9a-f]{12}\b/gi;
/** A labelled value behind "=": quoted, or up to white space. */
const ASSIGNED = /((?:serial ?(?:number|no\.?|#)?|uuid|wwn|asset tag)[ \t]*=[ \t]*)("[^"\n]*"|"?[^\s",;]+)/gi;
/** A labelled value behind ":": quoted, or up to the line's end. "Serial: 8250/16550 driver" is no number. */
const PRINTED = /((?:serial ?(?:number|no\.?|#)?|uuid|wwn|asset tag)[ \t]*:[ \t]*)(?!8250)("[^"\n]*"|"?[^\s",;][^\n",;]*)/gi;

/** Text with MAC addresses and serial numbers blanked, and how many there were. */
export const redactText = (text: string): { text: string; count: number } => {
  let count = 0;
  const counted = (replacement: string): string => {
    count++;
    return replacement;
  };
  const blankValue = (_whole: string, label: string, value: string): string => counted(/^".*"$/.test(value) ? `${label}"(redacted)"` : `${label}(redacted)`);
  const redacted = text
    .replace(BYTE_PAIRS, () => counted("00:00:00:00:00:00"))
    .replace(NAMED_BY_MAC, (_whole, kind: string) => counted(`${kind}x000000000000`))
    .replace(ASSIGNED, blankValue)
    .replace(PRINTED, blankValue);
  return { text: redacted, count };
};
