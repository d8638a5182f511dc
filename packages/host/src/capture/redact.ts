import { findExtendedCapability } from "@iommu-lab/pci-bus/capabilities";

const DEVICE_SERIAL_NUMBER = 0x03;

/** A configuration space whose Device Serial Number capability reads zero, or undefined when there is none. PCIe §7.9.3. */
export const blankSerialNumber = (config: Uint8Array): Uint8Array | undefined => {
  const at = findExtendedCapability(config, DEVICE_SERIAL_NUMBER);
  if (at === 0 || at + 12 > config.length || config.subarray(at + 4, at + 12).every((byte) => byte === 0)) return undefined;
  return config.slice().fill(0, at + 4, at + 12);
};

const MAC = /(?<![0-9a-f:])(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}(?![0-9a-f:]|\.[0-7])/gi;
const SERIAL = /((?:serial ?(?:number|no\.?|#)?|uuid|wwn|asset tag)\s*[:=]\s*)("?)[^\s",;]+/gi;

/** Text with MAC addresses and serial numbers blanked, and how many there were. */
export const redactText = (text: string): { text: string; count: number } => {
  let count = 0;
  const redacted = text
    .replace(MAC, () => {
      count++;
      return "00:00:00:00:00:00";
    })
    .replace(SERIAL, (_whole, label: string, quote: string) => {
      count++;
      return `${label}${quote}(redacted)`;
    });
  return { text: redacted, count };
};
