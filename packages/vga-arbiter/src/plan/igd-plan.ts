import type { Era, Known, Plan, PlanReason } from "./plan.ts";

/** Integrated Intel graphics that a VM is to get, and the guest around it. */
export interface IgdPlanInput {
  readonly era: Era;
  /** "legacy": the guest's BIOS shows its picture; "upt": no output before the guest's driver (universal passthrough). */
  readonly mode: "legacy" | "upt";
  /** The guest sees it at 00:02.0. */
  readonly atGuest02: Known;
  /** The guest's ISA bridge at 00:1f.0 carries the host's identity. */
  readonly lpcBridgeAt1f: Known;
  /** Bit 1 of the host bridge's GGC (0x50): firmware switched its VGA decoding off. */
  readonly vgaDecodeDisabled: Known;
  /** Class 0x0300; firmware makes it 0x0380 where it is not the first display. */
  readonly isVgaClass: Known;
  /** The host has nothing on it any more: no driver, no console. */
  readonly hostReleased: Known;
  readonly guestFirmware: "bios" | "uefi";
}

interface Requirement {
  readonly rule: string;
  readonly met: Known;
  readonly text: string;
  readonly condition: string;
}

const requirementsOf = (input: IgdPlanInput): Requirement[] => {
  const released: Requirement = { rule: "host-released", met: input.hostReleased, text: "The host must not use integrated graphics any more.", condition: "Unbind i915 and keep consoles and frame buffers of the host off it." };
  if (input.mode === "upt") return [released];
  const decodes: Known = input.vgaDecodeDisabled === "unknown" ? "unknown" : !input.vgaDecodeDisabled;
  return [
    released,
    { rule: "guest-address", met: input.atGuest02, text: "Its video BIOS and drivers look for it at 00:02.0.", condition: "Put it at 00:02.0 of the guest." },
    { rule: "lpc-bridge", met: input.lpcBridgeAt1f, text: "Drivers tell the chipset from the ISA bridge at 00:1f.0.", condition: "Leave 00:1f.0 of the guest free for a bridge with the host's identity." },
    { rule: "vga-class", met: input.isVgaClass, text: "A function of class 0x0380 has no legacy ranges.", condition: "Make integrated graphics the first display in firmware setup." },
    { rule: "ggc-ivd", met: decodes, text: "GGC bit 1 of the host bridge (IVD) switches VGA decoding off.", condition: "Make integrated graphics the first display in firmware setup, so that it decodes VGA." },
  ];
};

const REFUSED: PlanReason = {
  rule: "igd-cannot-stop-decoding",
  text: "Integrated graphics cannot stop decoding the legacy ranges by a switch of its own, and without its command register its driver is dead: as of 2015 it cannot be assigned.",
};

const LEGACY_NEEDS_BIOS: PlanReason = { rule: "legacy-needs-bios", text: "Legacy mode runs the video BIOS; UEFI firmware of the guest does not." };

const works: Record<IgdPlanInput["mode"], PlanReason> = {
  legacy: { rule: "igd-legacy", text: "Legacy mode gives the guest the video BIOS, the stolen memory and the OpRegion." },
  upt: { rule: "igd-upt", text: "Universal passthrough needs neither ranges nor stolen memory: the picture comes with the guest's driver." },
};

/** Says whether integrated Intel graphics can be assigned. */
export const planIgd = (input: IgdPlanInput): Plan => {
  if (input.era === "2015") return { verdict: "does-not-work", reasons: [REFUSED], conditions: [] };
  if (input.mode === "legacy" && input.guestFirmware === "uefi") return { verdict: "does-not-work", reasons: [LEGACY_NEEDS_BIOS], conditions: [] };
  const requirements = requirementsOf(input);
  const open = requirements.filter(({ met }) => met !== true);
  const reasons = [works[input.mode], ...open.map(({ rule, text }) => ({ rule, text }))];
  if (open.length === 0) return { verdict: "works", reasons, conditions: [] };
  if (open.some(({ met }) => met === "unknown")) return { verdict: "unknown", reasons, conditions: [] };
  return { verdict: "works-with", reasons, conditions: open.map(({ condition }) => condition) };
};
