import { compareAddresses } from "@iommu-lab/pci-bus";
import type { FirmwareFramebuffer, VgaDevice } from "./device.ts";
import type { KernelProfile } from "./kernel-profile.ts";

/** Where a display stands for its sysfs file `boot_display`. */
export interface BootDisplayFacts {
  readonly profile: KernelProfile;
  /** The arbiter's boot device. */
  readonly defaultDevice: VgaDevice | undefined;
  readonly framebuffer: FirmwareFramebuffer | undefined;
}

const DISPLAY = 0x03;

/**
 * Whether `boot_display` names this function: a display of any class, 3D controllers and others too, that is the boot VGA device
 * or the one firmware drew on. Undefined for kernels before 7.2, which have no such file.
 */
export const isBootDisplay = (device: VgaDevice, { profile, defaultDevice, framebuffer }: BootDisplayFacts): boolean | undefined => {
  if (profile.framebuffer === "bars") return undefined;
  if (device.classCode >>> 16 !== DISPLAY) return false;
  return device === defaultDevice || (framebuffer?.device !== undefined && compareAddresses(framebuffer.device, device.address) === 0);
};
