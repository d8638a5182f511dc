import type { AddressSpace, Hpa } from "@iommu-lab/memory";
import type { VgaDevice } from "../arbiter/device.ts";
import { decodingOf, isRouted } from "../arbiter/routing.ts";

/** Where system firmware copies the video BIOS: C segment. */
export const SHADOW_BASE: Hpa = 0xc_0000;
/** The copy has at most 128 KiB; the range of a video BIOS proper ends at 0xc_7fff. */
export const SHADOW_SIZE = 0x2_0000;

/** Copies a ROM image into RAM at 0xc_0000. @throws RangeError when it is longer than 128 KiB */
export const copyToShadow = (memory: AddressSpace<Hpa>, image: Uint8Array): void => {
  if (image.length > SHADOW_SIZE) throw new RangeError(`An image of 0x${image.length.toString(16)} bytes does not fit the shadow's 0x${SHADOW_SIZE.toString(16)}.`);
  memory.writeFrom(SHADOW_BASE, image);
};

const DISPLAY_VGA = 0x0300;

/**
 * Whether Linux takes the RAM at 0xc_0000 for this device's ROM, so that its sysfs `rom` shows the shadow, possibly changed or
 * cut by firmware, and not the chip. Linux arch/x86/pci/fixup.c, pci_fixup_video().
 * @param defaultDevice the boot VGA device as known at that moment; at boot the fixup runs before the arbiter has one
 */
export const hasShadowedRom = (device: VgaDevice, defaultDevice: VgaDevice | undefined): boolean =>
  device.classCode >>> 8 === DISPLAY_VGA && isRouted(device) && (defaultDevice === undefined || defaultDevice === device) && decodingOf(device.config) !== 0;

/** Where a device stands for its sysfs file `boot_vga`. */
export interface BootVgaFacts {
  /** The arbiter's boot device. */
  readonly defaultDevice: VgaDevice | undefined;
  /** Its ROM resource was set to the shadow. */
  readonly shadowedRom: boolean;
}

/** What `boot_vga` of a VGA device reads: that it is the default one, or, where there is no default, that its ROM is shadowed. */
export const bootVgaAttribute = (device: VgaDevice, { defaultDevice, shadowedRom }: BootVgaFacts): 0 | 1 => ((defaultDevice ? defaultDevice === device : shadowedRom) ? 1 : 0);
