import { worse, type Era, type Known, type Plan, type PlanReason, type PlanVerdict } from "./plan.ts";

/** A discrete card that a VM is to get, and what stands around it. */
export interface CardPlanInput {
  /** Integrated Intel graphics is on and the host keeps it. */
  readonly igdHost: Known;
  /** The card's ROM has a UEFI driver for x86-64 (`romVerdict(…).ovmf`). */
  readonly cardHasGop: Known;
  /** The ROM has a legacy image; taken as true by default, for nearly every card of that time has one. */
  readonly cardHasLegacyImage?: Known;
  readonly guestFirmware: "bios" | "uefi";
  readonly era: Era;
  /** The host booted on this card: its sysfs ROM is a shadow copy, and the host's console holds it. False by default. */
  readonly cardIsBootVga?: Known;
}

interface Finding {
  readonly verdict: PlanVerdict;
  readonly reason: PlanReason;
  readonly condition?: string;
}

const finding = (verdict: PlanVerdict, rule: string, text: string, condition?: string): Finding => ({ verdict, reason: { rule, text }, ...(condition ? { condition } : {}) });

const judgeUefi = ({ cardHasGop }: CardPlanInput): Finding => {
  if (cardHasGop === true) return finding("works", "gop-present", "The guest's UEFI starts the card by its UEFI driver, through its BARs; the legacy ranges are not needed.");
  if (cardHasGop === "unknown") return finding("unknown", "gop-unknown", "Whether the card's ROM has a UEFI driver for x86-64 is not known.");
  return finding("does-not-work", "gop-needed", "The guest's UEFI needs a UEFI driver in the card's ROM, and there is none: no picture before the guest's own driver loads.");
};

/** Under BIOS the guest's firmware and video BIOS use the legacy ranges of the real card. */
const judgeRanges = ({ igdHost, era }: CardPlanInput): Finding => {
  if (igdHost === "unknown") return finding("unknown", "igd-unknown", "Whether integrated graphics decodes the legacy ranges is not known.");
  if (!igdHost) return finding("works-with", "legacy-routed", "A video BIOS uses the legacy ranges; no integrated graphics keeps them, so the host's arbiter can route them to the card.", "Give the VM the card's VGA ranges (x-vga=on), and start VMs one after the other: the arbiter lets one hold the ranges at a time.");
  if (era === "2015") return finding("does-not-work", "igd-hogs-vga", "A video BIOS uses the legacy ranges; integrated graphics of the host cannot give them up without its driver dying, so the guest's accesses reach the wrong device.");
  return finding("works-with", "igd-arbitrated", "A video BIOS uses the legacy ranges, and integrated graphics answers to them too; the arbiter can only take them away by its command register.", "Switch integrated graphics off in firmware setup or let no driver of the host use it, and give the VM the VGA ranges (x-vga=on); or give the guest UEFI firmware and a card with a UEFI driver.");
};

const judgeBios = (input: CardPlanInput): Finding[] => {
  const legacy = input.cardHasLegacyImage ?? true;
  if (legacy === false) return [finding("does-not-work", "legacy-image-needed", "The guest's BIOS needs a legacy image in the card's ROM, and there is none.")];
  return [...(legacy === "unknown" ? [finding("unknown", "legacy-image-unknown", "Whether the card's ROM has a legacy image is not known.")] : []), judgeRanges(input)];
};

const judgeBootVga = ({ cardIsBootVga = false }: CardPlanInput): Finding[] => {
  if (cardIsBootVga === false) return [];
  if (cardIsBootVga === "unknown") return [finding("unknown", "boot-vga-unknown", "Whether the host booted on this card is not known.")];
  return [finding("works-with", "rom-shadowed", "The host booted on this card: its sysfs ROM is the copy in RAM, which firmware may have changed.", "Boot the host on another card, or give the VM a ROM file that was read while another card was the boot device.")];
};

/** Says whether a discrete card will show a picture in a VM. */
export const planCard = (input: CardPlanInput): Plan => {
  const findings = [...(input.guestFirmware === "uefi" ? [judgeUefi(input)] : judgeBios(input)), ...judgeBootVga(input)];
  const verdict = findings.reduce<PlanVerdict>((worst, each) => worse(worst, each.verdict), "works");
  return {
    verdict,
    reasons: findings.map(({ reason }) => reason),
    conditions: verdict === "works-with" ? findings.map(({ condition }) => condition).filter((each) => each !== undefined) : [],
  };
};
