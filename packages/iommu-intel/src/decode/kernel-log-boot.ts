import { big, hex, lineOf, type Fact, type LineFormat } from "@iommu-lab/pci-bus/decode";
import { decodeRegister } from "./registers.ts";

/** What the driver reports about the DMAR table and its units while it starts. */
export const BOOT_LINES: readonly LineFormat[] = [
  {
    pattern: /(?:\b(dmar\d{1,4}|IOMMU \d{1,4}): )?reg_base_addr (?:0x)?([0-9a-f]{1,16}) ver (\d{1,3}):(\d{1,3}) cap (?:0x)?([0-9a-f]{1,16}) ecap (?:0x)?([0-9a-f]{1,16})/i,
    read: ([, unit, base, major, minor, cap, ecap], offset) => {
      const registers = [decodeRegister("CAP", big(cap), offset), decodeRegister("ECAP", big(ecap), offset)];
      const facts: Record<string, Fact> = { unit: unit ?? null, registerBase: big(base), version: `${major ?? ""}.${minor ?? ""}`, cap: big(cap), ecap: big(ecap) };
      const line = lineOf("remapping unit", offset, facts, [`${unit ?? "A unit"} has its registers at ${hex(big(base))}, architecture version ${major ?? ""}.${minor ?? ""}.`]);
      return { structures: [...line.structures, ...registers.map(({ structure }) => structure)], findings: registers.flatMap(({ findings }) => findings) };
    },
  },
  { pattern: /Host address width (\d{1,3})/i, read: ([, width], offset) => lineOf("host address width", offset, { hostAddressWidth: Number(width) }, [`DMA can name addresses of ${width ?? ""} bits.`]) },
  {
    pattern: /DRHD base: (?:0x)?([0-9a-f]{1,16}) flags: (?:0x)?([0-9a-f]{1,2})/i,
    read: ([, base, flags], offset) => lineOf("DRHD", offset, { registerBase: big(base), includeAll: (Number(big(flags)) & 1) === 1 }, [`A unit at ${hex(big(base))}${Number(big(flags)) & 1 ? ", for every function that no other unit names" : ", for the functions its scopes name"}.`]),
  },
  { pattern: /RMRR base: (?:0x)?([0-9a-f]{1,16}) end: (?:0x)?([0-9a-f]{1,16})/i, read: ([, base, end], offset) => lineOf("RMRR", offset, { base: big(base), limit: big(end) }, [`Firmware's devices use ${hex(big(base))} to ${hex(big(end))}.`]) },
  { pattern: /\b(ATSR|SATC) flags: (?:0x)?([0-9a-f]{1,2})/i, read: ([, name = "ATSR", flags], offset) => lineOf(name.toUpperCase(), offset, { flags: Number(big(flags)) }, []) },
  {
    pattern: /RHSA base: (?:0x)?([0-9a-f]{1,16}) proximity domain: (?:0x)?([0-9a-f]{1,8})/i,
    read: ([, base, domain], offset) => lineOf("RHSA", offset, { registerBase: big(base), proximityDomain: Number(big(domain)) }, [`The unit at ${hex(big(base))} is near node ${Number(big(domain))}.`]),
  },
  { pattern: /ANDD device: ([0-9a-f]{1,2}) name: (\S{1,128})/i, read: ([, number, name = ""], offset) => lineOf("ANDD", offset, { deviceNumber: Number(big(number)), objectName: name }, []) },
  {
    pattern: /\b(IOAPIC|HPET) id (\d{1,3}) under DRHD base {1,2}(?:0x)?([0-9a-f]{1,16})/i,
    read: ([, what = "", id, base], offset) => lineOf(what, offset, { id: Number(id), registerBase: big(base) }, [`${what} ${id ?? ""} sends its interrupts through the unit at ${hex(big(base))}.`]),
  },
  { pattern: /Enabled IRQ remapping in (x2apic|xapic) mode/i, read: ([, mode = ""], offset) => lineOf("interrupt remapping", offset, { mode }, [`Interrupts are remapped, in ${mode} mode.`]) },
  { pattern: /\b(dmar\d{1,4}): Using (Queued|Register based) invalidation/i, read: ([, unit = "", how = ""], offset) => lineOf("invalidation", offset, { unit, queued: /queued/i.test(how) }, []) },
];

/** Lines that say one thing. */
export const LINE_NOTES: readonly { readonly id: string; readonly pattern: RegExp; readonly text: string; readonly finding: boolean }[] = [
  { id: "firmware-drhd-broken", pattern: /DMAR reported at address .{0,40}returns all ones|DMAR reported at address (?:0x)?0+\b/i, text: "Firmware names a remapping unit where none is: the IOMMU stays off. Look at the DMAR table, and for a firmware update.", finding: true },
  { id: "firmware-rmrr-broken", pattern: /bad RMRR|RMRR ends before it starts|RMRR exceeds permitted address width|RMRR entry for device .{1,20}is broken/i, text: "Firmware describes a reserved region wrongly; the kernel works around it.", finding: true },
  { id: "firmware-rhsa-unknown", pattern: /RHSA refers to non-existent DMAR unit/i, text: "Firmware gives a place to a remapping unit that it does not describe.", finding: true },
  { id: "rmrr-blocks-passthrough", pattern: /ineligible for IOMMU domain attach due to platform RMRR|requested this device have a 1:1 IOMMU mapping/i, text: "Firmware reserves memory for this device, so the kernel gives it to no guest. Switch off the firmware feature that uses it.", finding: true },
  { id: "interrupt-remapping-failed", pattern: /Failed to enable irq remapping/i, text: "Interrupt remapping could not be switched on: assigned devices could forge interrupts, so the kernel assigns none.", finding: true },
  { id: "interrupt-remapping-erratum", pattern: /enabled interrupt remapping\s+on a chipset that contains an erratum/i, text: "The chipset's interrupt remapping has an erratum and stays off.", finding: true },
  { id: "x2apic-opt-out", pattern: /x2apic is disabled because BIOS sets x2apic opt out bit/i, text: "Firmware asks for xAPIC mode; intremap=no_x2apic_optout overrules it.", finding: true },
  { id: "no-dmar", pattern: /No DMAR devices found/i, text: "Firmware describes no remapping unit: VT-d is off in its setup, or not there.", finding: true },
  { id: "option-parsed", pattern: /DMAR: IOMMU enabled/i, text: "The kernel was told intel_iommu=on; this line does not say that it works.", finding: false },
  { id: "iommu-on", pattern: /DMAR: Intel\(R\) Virtualization Technology for Directed I\/O/i, text: "The IOMMU is on.", finding: false },
];
