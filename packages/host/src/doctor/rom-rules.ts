import { parseOptionRom, romVerdict } from "@iommu-lab/vga-arbiter";
import type { DeviceView } from "./device-view.ts";
import type { HostView } from "./host-view.ts";
import { fail, notConcerned, pass, seen, unknown, type DeviceRule, type Outcome } from "./rule.ts";

const NO_DISPLAY = "It is no display.";

const checkShadow = (device: DeviceView, host: HostView): Outcome => {
  if (!device.isDisplay) return notConcerned(NO_DISPLAY);
  if (device.isIgd) return notConcerned("Integrated graphics has its ROM in the machine's firmware.");
  const said = host.log?.find(device.logPattern("(?:Video device with shadowed ROM|Invalid PCI ROM (?:header|data) signature)"));
  if (said || device.fn.bootVga) return fail([device.fn.bootVga ? seen(`sys/bus/pci/devices/${device.name}/boot_vga`, "1") : undefined, said], "Its sysfs ROM is the copy in RAM that firmware left, perhaps changed or cut. Boot on another card, read the ROM there, and give the VM that file (romfile=, <rom file=…>).");
  if (device.fn.bootVga === false) return pass(seen(`sys/bus/pci/devices/${device.name}/boot_vga`, "0: its ROM is its own"));
  return host.log?.hasBoot ? pass(seen("dmesg", "no shadowed ROM")) : unknown(`/sys/bus/pci/devices/${device.name}/boot_vga, or the kernel log since boot`);
};

const idsOf = ({ fn }: DeviceView): { readonly vendor: number; readonly device: number } | undefined => (fn.vendor === undefined || fn.device === undefined ? undefined : { vendor: fn.vendor, device: fn.device });

const NEEDED = "the card's ROM (--rom FILE), read while another card was the boot display";

const checkFirmware = (device: DeviceView, host: HostView): Outcome => {
  if (!device.isDisplay) return notConcerned(NO_DISPLAY);
  const rom = host.romOf(device.fn);
  if (!rom) return unknown(NEEDED);
  const verdict = romVerdict(rom, idsOf(device));
  const evidence = verdict.reasons.map((text) => seen("ROM", text));
  const wanted = host.guest?.firmware ?? "uefi";
  const answer = wanted === "uefi" ? verdict.ovmf : verdict.seabios;
  if (answer === "yes") return pass(evidence);
  if (answer === "unknown") return unknown("a complete dump of its ROM", evidence);
  return fail(evidence, wanted === "uefi" ? "No picture under UEFI before the guest's own driver loads: use a BIOS guest (SeaBIOS, x-vga=on), or get a ROM with a UEFI image from the card's maker." : "The guest's BIOS finds no legacy image: use UEFI (OVMF).");
};

const checkIds = (device: DeviceView, host: HostView): Outcome => {
  if (!device.isDisplay) return notConcerned(NO_DISPLAY);
  const rom = host.romOf(device.fn);
  const ids = idsOf(device);
  if (!rom || !ids) return unknown(NEEDED);
  const wrong = parseOptionRom(rom, ids).problems.filter(({ rule }) => rule === "vendor" || rule === "device" || rule === "no-image");
  return wrong.length > 0 ? fail(wrong.map(({ text }) => seen("ROM", text)), "This is the ROM of another card: read it again, from this one.") : pass(seen("ROM", "its ids are the card's"));
};

/** Whether a guest's firmware can start the card. */
export const ROM_RULES: readonly DeviceRule[] = [
  { about: "device", id: "ROM-001", title: "Its ROM can be read as it is", severity: "warning", check: checkShadow },
  { about: "device", id: "ROM-002", title: "Its ROM has an image for the guest's firmware", severity: "error", optional: true, check: checkFirmware },
  { about: "device", id: "ROM-003", title: "The ROM is this card's", severity: "error", optional: true, check: checkIds },
];
