import * as v from "valibot";
import { behaviourSchema, functionSchema } from "./function-schema.ts";
import { field, functionAddress, whole } from "./numbers.ts";

const some = (what: string, most: number) => v.pipe(whole(what), v.minValue(1, `${what} is at least 1.`), v.maxValue(most, `${what} is at most ${most}.`));

const kernelSchema = v.strictObject({
  /** "6.12", as rules that changed go by it. */
  version: v.pipe(v.string(), v.regex(/^\d+\.\d+/, 'A kernel version begins with two numbers: "6.12".')),
  commandLine: v.exactOptional(v.string()),
});

const firmwareSchema = v.strictObject({
  kind: v.picklist(["bios", "uefi"], "Firmware is bios or uefi."),
  /** The display that firmware shows its screen on; without it the first one. */
  bootDisplay: v.exactOptional(functionAddress),
  /** The linear frame buffer that firmware left, bytes; UEFI alone. */
  frameBuffer: v.exactOptional(v.strictObject({ base: whole("An address"), size: whole("A size") })),
  /** The IOMMU is switched on in the setup; default true. */
  iommu: v.exactOptional(v.boolean()),
});

const iommuSchema = v.strictObject({
  vendor: v.picklist(["intel", "amd"], "An IOMMU's vendor is intel or amd."),
  registerBase: v.exactOptional(whole("An address")),
  segment: v.exactOptional(field("A segment", 16)),
  /** Functions that it covers, with what is below bridges among them; without it every one that no unit before it covers. */
  covers: v.exactOptional(v.array(functionAddress)),
  /** AMD: where its own function is. */
  function: v.exactOptional(functionAddress),
  interruptRemapping: v.exactOptional(v.boolean()),
  scalable: v.exactOptional(v.boolean()),
  levels: v.exactOptional(v.picklist([4, 5], "Tables have 4 or 5 levels.")),
  superpages: v.exactOptional(v.boolean()),
  cachingMode: v.exactOptional(v.boolean()),
  caches: v.exactOptional(v.picklist(["none", "realistic", "adversarial"], "Caches are none, realistic or adversarial.")),
  /** Size of the realistic IOTLB. */
  iotlb: v.exactOptional(v.strictObject({ sets: some("The number of sets", 65_536), ways: some("The number of ways", 64) })),
  /**
   * Capability registers as captured, hexadecimal: VT-d's CAP and ECAP, AMD's EFR and EFR2. A record of the host; units are built from
   * the choices beside them.
   */
  registers: v.exactOptional(v.record(v.picklist(["cap", "ecap", "efr", "efr2"]), v.pipe(v.string(), v.regex(/^0x[0-9a-fA-F]{1,16}$/, "A register is hexadecimal text of up to 64 bits.")))),
});

const reservedSchema = v.strictObject({
  base: whole("An address"),
  /** The last byte. */
  last: whole("An address"),
  functions: v.array(functionAddress),
});

const hostBridgeSchema = v.strictObject({
  segment: v.exactOptional(field("A segment", 16)),
  firstBus: v.exactOptional(field("A bus number", 8)),
  lastBus: v.exactOptional(field("A bus number", 8)),
  functions: v.array(functionSchema),
});

const vmDeviceSchema = v.union(
  [v.strictObject({ host: functionAddress }), v.strictObject({ emulated: behaviourSchema })],
  'A device of a VM is one of the host, {"host": "0000:01:00.0"}, or an emulated one, {"emulated": "edu"}.',
);

const vmSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1, "A VM has a name.")),
  /** Bytes. */
  memory: whole("The size of memory"),
  processors: v.exactOptional(some("The number of processors", 255)),
  firmware: v.exactOptional(v.picklist(["bios", "uefi"], "Firmware is bios or uefi.")),
  /** Whether the hypervisor is the system itself or runs on one. */
  layout: v.exactOptional(v.picklist(["type-1", "type-2"], "A hypervisor is of type-1 or type-2.")),
  /** An IOMMU of its own. */
  iommu: v.exactOptional(v.picklist(["intel", "amd"], "An IOMMU's vendor is intel or amd.")),
  devices: v.exactOptional(v.array(vmDeviceSchema)),
});

/** The whole of machine.json. */
export const machineSchema = v.strictObject({
  $schema: v.exactOptional(v.string()),
  format: v.literal("iommu-lab-machine", 'A machine says "format": "iommu-lab-machine".'),
  version: v.literal(1, "This is version 1 of the format."),
  name: v.pipe(v.string(), v.minLength(1, "A machine has a name.")),
  /** Where it comes from: captured, or written from what. */
  provenance: v.exactOptional(v.string()),
  kernel: kernelSchema,
  firmware: firmwareSchema,
  processors: v.strictObject({ count: some("The number of processors", 1024), apic: v.exactOptional(v.picklist(["xapic", "x2apic"], "Local APICs are in xapic or x2apic mode.")) }),
  /** Bytes of RAM. */
  memory: v.pipe(whole("The size of memory"), v.minValue(2 ** 24, "A machine has 16 MiB at least."), v.maxValue(2 ** 46, "A machine has at most 64 TiB.")),
  iommus: v.array(iommuSchema),
  reserved: v.exactOptional(v.array(reservedSchema)),
  hostBridges: v.pipe(v.array(hostBridgeSchema), v.minLength(1, "A machine has a host bridge.")),
  vms: v.exactOptional(v.array(vmSchema)),
});

/** A machine as data: topology, IOMMUs, memory, devices and VMs. Bytes and addresses are numbers, functions are text. */
export type MachineDescription = v.InferOutput<typeof machineSchema>;
/** The same as JSON may have it, with hexadecimal text for numbers. */
export type MachineInput = v.InferInput<typeof machineSchema>;
/** An IOMMU of a machine. */
export type MachineIommu = MachineDescription["iommus"][number];
/** A VM of a machine. */
export type MachineVm = NonNullable<MachineDescription["vms"]>[number];
