import { compareAddresses } from "@iommu-lab/pci-bus";
import { LEGACY_RESOURCES, type VgaResources } from "../legacy/resources.ts";
import type { FirmwareFramebuffer, MemoryRange, VgaDevice } from "./device.ts";
import type { KernelProfile } from "./kernel-profile.ts";
import { decodingOf } from "./routing.ts";
import type { MutableState, VgaState } from "./vga-state.ts";

/** The kernel wants the frame buffer to end before the BAR's last byte: one that fills its BAR to the end is not found. */
const holds = ({ base, size }: MemoryRange, framebuffer: FirmwareFramebuffer): boolean => base > 0 && size > 0 && framebuffer.base >= base && framebuffer.base + framebuffer.size < base + size - 1;

/** Whether firmware's frame buffer is this device's. */
const isFramebufferDevice = (device: VgaDevice, framebuffer: FirmwareFramebuffer | undefined, profile: KernelProfile): boolean => {
  if (!framebuffer) return false;
  if (profile.framebuffer === "device" && framebuffer.device) return compareAddresses(framebuffer.device, device.address) === 0;
  return (device.memoryBars ?? []).some((bar) => holds(bar, framebuffer));
};

const ownsLegacy = (owns: VgaResources): boolean => (owns & LEGACY_RESOURCES) === LEGACY_RESOURCES;

/** Why a device became the default one. */
export type BootReason = "firmware-framebuffer" | "legacy" | "integrated" | "first-decoding" | "first-of-all";

/**
 * Decides whether a device that is being added takes the place of the default so far, and by which rule; sets
 * `isFirmwareDefault`. The rules in the kernel's order: firmware's frame buffer; the first device with both legacy ranges;
 * of devices that decode something the last integrated one, else the first; in older kernels the first at all.
 */
export const bootReason = (added: MutableState, current: VgaState | undefined, framebuffer: FirmwareFramebuffer | undefined, profile: KernelProfile): BootReason | undefined => {
  if (current?.isFirmwareDefault) return undefined;
  if (isFramebufferDevice(added.device, framebuffer, profile)) {
    added.isFirmwareDefault = true;
    return "firmware-framebuffer";
  }
  if (current && ownsLegacy(current.owns)) return undefined;
  if (ownsLegacy(added.owns)) return "legacy";
  if (decodingOf(added.device.config)) {
    if (added.device.isIntegrated) return "integrated";
    return current && decodingOf(current.device.config) ? undefined : "first-decoding";
  }
  return profile.acceptsDisabled && !current ? "first-of-all" : undefined;
};
