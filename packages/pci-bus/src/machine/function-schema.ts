import * as v from "valibot";
import { field, hexBytes, whole } from "./numbers.ts";

const size = (what: string) => v.pipe(whole(what), v.check((bytes) => bytes > 0 && Number.isInteger(Math.log2(bytes)), `${what} is a power of two.`));

/** A base address register as it is wired. PCIe §7.5.1.2.1. */
const barSchema = v.strictObject({
  index: v.pipe(whole("The index of a BAR"), v.maxValue(5, "BARs are 0 to 5.")),
  kind: v.picklist(["io", "memory32", "memory64"], "A BAR is io, memory32 or memory64."),
  size: size("The size of a BAR"),
  prefetchable: v.exactOptional(v.boolean()),
});

const messages = v.strictObject({ vectors: v.exactOptional(v.pipe(whole("The number of vectors"), v.minValue(1, "There is at least one vector."), v.maxValue(2048, "There are at most 2048 vectors."))), bar: v.exactOptional(v.pipe(whole("The index of a BAR"), v.maxValue(5, "BARs are 0 to 5."))) });

/** Capabilities by name, for functions that are described rather than captured. */
const capabilitiesSchema = v.strictObject({
  powerManagement: v.exactOptional(v.boolean()),
  msi: v.exactOptional(messages),
  msix: v.exactOptional(messages),
  /** PCI Express; ports have it always. */
  express: v.exactOptional(v.boolean()),
  /** Function-level reset, in the PCI Express capability. */
  functionLevelReset: v.exactOptional(v.boolean()),
  acs: v.exactOptional(v.boolean()),
  aer: v.exactOptional(v.boolean()),
  ari: v.exactOptional(v.boolean()),
  ats: v.exactOptional(v.boolean()),
  pri: v.exactOptional(v.boolean()),
  pasid: v.exactOptional(v.boolean()),
  sriov: v.exactOptional(v.strictObject({ totalVfs: v.pipe(whole("The number of virtual functions"), v.minValue(1), v.maxValue(256)), vfDevice: v.exactOptional(field("A device ID", 16)), barSize: v.exactOptional(size("The size of a virtual function's BAR")) })),
});

/** What a function does beside holding registers. */
export const behaviourSchema = v.picklist(
  ["registers", "edu", "stream", "vga"],
  'A function behaves as "registers" (nothing but configuration space and BARs that hold what is written), "edu", "stream" (a ring of descriptors: network cards, capture cards) or "vga".',
);

const KINDS = ["endpoint", "root-port", "upstream-port", "downstream-port", "pcie-to-pci", "pci-to-pci"] as const;

const shape = {
  /** Device and function on its bus: "1f.3". */
  at: v.pipe(v.string("The place of a function is text: \"1f.3\"."), v.regex(/^[01]?[0-9a-fA-F]\.[0-7]$/, 'A place on a bus is device and function, such as "1f.3": 00.0 to 1f.7.')),
  name: v.exactOptional(v.string()),
  kind: v.exactOptional(v.picklist(KINDS, `A function is one of ${KINDS.join(", ")}.`)),
  /** Configuration space as captured: 64, 256 or 4096 bytes, zeros at the end left out. */
  config: v.exactOptional(hexBytes(4096)),
  vendor: v.exactOptional(field("A vendor ID", 16)),
  device: v.exactOptional(field("A device ID", 16)),
  classCode: v.exactOptional(field("A class code", 24)),
  revision: v.exactOptional(field("A revision", 8)),
  subsystemVendor: v.exactOptional(field("A subsystem vendor ID", 16)),
  subsystemDevice: v.exactOptional(field("A subsystem ID", 16)),
  interruptPin: v.exactOptional(v.pipe(whole("An interrupt pin"), v.maxValue(4, "Interrupt pins are 1 to 4; 0 is none."))),
  multifunction: v.exactOptional(v.boolean()),
  bars: v.exactOptional(v.array(barSchema)),
  /** Bytes of the expansion ROM's BAR. */
  romSize: v.exactOptional(size("The size of an expansion ROM")),
  /** Which images the ROM of a display has. */
  rom: v.exactOptional(v.array(v.picklist(["legacy", "efi"], "An option ROM has images of kind legacy and efi."))),
  capabilities: v.exactOptional(capabilitiesSchema),
  behaviour: v.exactOptional(behaviourSchema),
  /** The host's driver that takes it. */
  driver: v.exactOptional(v.string()),
  /** Bus number below, where it is to be kept; else firmware chooses. */
  secondaryBus: v.exactOptional(field("A bus number", 8)),
  /** Last bus number below. */
  subordinateBus: v.exactOptional(field("A bus number", 8)),
} as const;

/** A function of a machine, with what is below it when it is a bridge. */
export type MachineFunction = v.InferOutput<v.StrictObjectSchema<typeof shape, undefined>> & { readonly below?: readonly MachineFunction[] };
/** The same before numbers are read. */
export type MachineFunctionInput = v.InferInput<v.StrictObjectSchema<typeof shape, undefined>> & { readonly below?: readonly MachineFunctionInput[] };

/** Deeper than the 256 buses of a segment no topology goes. */
export const functionSchema: v.GenericSchema<MachineFunctionInput, MachineFunction> = v.strictObject({ ...shape, below: v.exactOptional(v.array(v.lazy(() => functionSchema))) });
