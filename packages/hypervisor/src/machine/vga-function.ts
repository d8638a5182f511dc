import type { FunctionDescription } from "@iommu-lab/pci-bus/capabilities";
import type { MachineFunction } from "@iommu-lab/pci-bus/machine";
import { buildEfiImage, buildLegacyImage, buildOptionRom, VgaCard } from "@iommu-lab/vga-arbiter";

const INTEL = 0x8086;
/** The initialisation that firmware runs for a legacy image: text mode. */
const TEXT_MODE = 1;
/** A ROM of which nobody said what is in it. */
const EMPTY = new Uint8Array(512);

const romOf = ({ rom, romSize }: MachineFunction, { vendor, device, classCode }: FunctionDescription): Uint8Array | null => {
  if (!romSize) return null;
  const images = (rom ?? []).map((kind) => (kind === "legacy" ? buildLegacyImage({ vendor, device, classCode, initHook: TEXT_MODE }) : buildEfiImage({ vendor, device, classCode })));
  return images.length > 0 ? buildOptionRom(images) : EMPTY;
};

/** Whether a display is Intel's integrated graphics: on the root bus. It cannot be made deaf for the legacy ranges. */
export const isIntegratedGraphics = (vendor: number, behindPort: boolean): boolean => vendor === INTEL && !behindPort;

/** A graphics card as a description has it: identity, BARs, and an option ROM with the images it names. */
export const vgaCardOf = (fn: MachineFunction, description: FunctionDescription, behindPort: boolean): VgaCard =>
  new VgaCard({ description, rom: romOf(fn, description), legacySwitch: isIntegratedGraphics(description.vendor, behindPort) ? "ignored" : "works" });
